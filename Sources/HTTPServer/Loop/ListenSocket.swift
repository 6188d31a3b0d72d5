// Owns the listening socket of a server, with the errors of opening it.

internal import CMicrohttpd
internal import Glibc

/// A listening TCP socket.
struct ListenSocket: ~Copyable {
    let descriptor: Int32
    /// The port; a free one where port 0 was asked for.
    let port: UInt16

    /// Not opened by libmicrohttpd, which returns NULL without a reason on every failure. SO_REUSEPORT stays off: with it a second process
    /// could bind the same port without an error and would get half of the requests.
    init(host: String, port: UInt16, backlog: Int) throws(HTTPServerError) {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &list)
        guard code == 0, let first = list else {
            throw HTTPServerError(
                .unknownHost,
                "HTTP server: cannot find the address of host \"\(host)\" (\(String(cString: gai_strerror(code)))); "
                    + "name a numeric address of this machine, such as 127.0.0.1 or ::")
        }
        defer { freeaddrinfo(list) }
        let opened = socket(
            first.pointee.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard opened >= 0 else { throw .system("cannot open a socket for \(host):\(port)") }
        do {
            self.port = try Self.listen(opened, at: first.pointee, host: host, port: port, backlog: backlog)
            descriptor = opened
        } catch {
            // `deinit` does not run: the value was not initialized.
            close(opened)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Passes the descriptor on to an owner that closes it.
    consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    private static func listen(
        _ socket: Int32, at address: addrinfo, host: String, port: UInt16, backlog: Int
    ) throws(HTTPServerError) -> UInt16 {
        // SO_REUSEADDR: a restart may bind while connections of the last run linger in TIME_WAIT.
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        if address.ai_family == AF_INET6 {
            var no: Int32 = 0
            setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &no, socklen_t(MemoryLayout<Int32>.size))
        }
        guard bind(socket, address.ai_addr, address.ai_addrlen) == 0, Glibc.listen(socket, Int32(backlog)) == 0 else {
            throw refusal(errno, host: host, port: port)
        }
        var bound = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = withUnsafeMutableBytes(of: &bound) { bytes in
            getsockname(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, &length) == 0
        }
        guard isKnown else { throw .system("cannot read the port of \(host):\(port)") }
        return withUnsafeBytes(of: &bound) { bytes in
            // sin_port and sin6_port have the same offset.
            UInt16(bigEndian: bytes.load(fromByteOffset: MemoryLayout<sockaddr_in>.offset(of: \.sin_port)!, as: UInt16.self))
        }
    }

    private static func refusal(_ code: Int32, host: String, port: UInt16) -> HTTPServerError {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        return switch code {
        case EADDRINUSE:
            HTTPServerError(
                .addressInUse,
                "HTTP server: \(address) is taken by another process; stop it (`ss -ltnp` names it) or choose another port, 0 for a free one"
            )
        case EADDRNOTAVAIL:
            HTTPServerError(
                .addressUnavailable,
                "HTTP server: this machine has no address \(host); name one of its own, or 0.0.0.0 for all")
        case EACCES, EPERM:
            HTTPServerError(
                .permissionDenied,
                "HTTP server: this process may not listen on \(address); choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
            )
        default:
            HTTPServerError(.system, "HTTP server: cannot listen on \(address): \(String(cString: strerror(code)))")
        }
    }
}
