// Owns the listening sockets of a server, with the errors of opening them.

internal import CMicrohttpd
internal import Glibc

/// Listening TCP sockets on one port: one for each address of the host.
struct ListenSocket: ~Copyable {
    /// Those that it still owns.
    private var descriptors: [Int32]
    /// The port; a free one where port 0 was asked for.
    let port: UInt16

    /// Not opened by libmicrohttpd, which returns NULL without a reason on every failure. SO_REUSEPORT stays off: with it a second process
    /// could bind the same port without an error and would get half of the requests.
    init(host: String, port: UInt16, backlog: Int) throws(HTTPServerError) {
        var opened: [Int32] = []
        var bound = port
        do throws(HTTPServerError) {
            // Whatever the machine's files say of it (RFC 6761, section 6.3).
            for name in host == "localhost" ? ["127.0.0.1", "::1"] : [host] {
                try Self.open(name, &bound, backlog: backlog, &opened)
            }
        } catch {
            // `deinit` does not run: the value was not initialized.
            for socket in opened { close(socket) }
            throw error
        }
        self.port = bound
        descriptors = opened
    }

    deinit { for socket in descriptors { close(socket) } }

    /// The first socket.
    var descriptor: Int32 { descriptors[0] }

    /// Passes the first descriptor on to an owner that closes it.
    /// - Returns: the others, whose owner is the caller.
    mutating func release() -> [Int32] {
        defer { descriptors = [] }
        return Array(descriptors.dropFirst())
    }

    /// Opens a socket for every address of a name that this machine has. With `port` 0 the first one takes a free port, and the others that
    /// one.
    private static func open(
        _ host: String, _ port: inout UInt16, backlog: Int, _ opened: inout [Int32]
    ) throws(HTTPServerError) {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host.isEmpty ? nil : host, "0", &hints, &list)
        guard code == 0 else {
            throw HTTPServerError(
                .unknownHost,
                "HTTP server: cannot find the address of host \"\(host)\" (\(String(cString: gai_strerror(code)))); "
                    + "name a numeric address of this machine, such as 127.0.0.1 or ::")
        }
        defer { freeaddrinfo(list) }
        var next = list
        var seen: Set<SocketAddress> = []
        while let address = next?.pointee {
            next = address.ai_next
            // The machine's files may name an address twice.
            if let known = address.ai_addr.flatMap({ SocketAddress($0) }), !seen.insert(known).inserted { continue }
            do throws(HTTPServerError) {
                opened.append(try listen(address, host: host, &port, backlog: backlog, isFirst: opened.isEmpty))
            } catch  where error.code == .addressUnavailable && (next != nil || !opened.isEmpty) {
                // A name may have addresses that this machine has not, or of a protocol that is turned off.
                continue
            }
        }
    }

    private static func listen(
        _ address: addrinfo, host: String, _ port: inout UInt16, backlog: Int, isFirst: Bool
    ) throws(HTTPServerError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = socket(address.ai_family, type, 0)
        guard socket >= 0 else { throw refusal(errno, host: host, port: port) }
        // SO_REUSEADDR: a restart may bind while connections of the last run linger in TIME_WAIT.
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        if address.ai_family == AF_INET6 {
            var isOnly: Int32 = isFirst ? 0 : 1
            setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &isOnly, socklen_t(MemoryLayout<Int32>.size))
        }
        var bound = sockaddr_storage()
        var length = address.ai_addrlen
        // sin_port and sin6_port have the same offset.
        let offset = MemoryLayout<sockaddr_in>.offset(of: \.sin_port)!
        let wanted = port
        let isBound = withUnsafeMutableBytes(of: &bound) { bytes in
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: address.ai_addr, count: Int(length)))
            bytes.storeBytes(of: wanted.bigEndian, toByteOffset: offset, as: UInt16.self)
            let name = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!
            return bind(socket, name, length) == 0 && Glibc.listen(socket, Int32(backlog)) == 0
                && getsockname(socket, name, &length) == 0
        }
        guard isBound else {
            let code = errno
            close(socket)
            throw refusal(code, host: host, port: port)
        }
        port = withUnsafeBytes(of: &bound) { UInt16(bigEndian: $0.load(fromByteOffset: offset, as: UInt16.self)) }
        return socket
    }

    private static func refusal(_ code: Int32, host: String, port: UInt16) -> HTTPServerError {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        return switch code {
        case EADDRINUSE:
            HTTPServerError(
                .addressInUse,
                "HTTP server: \(address) is taken by another process; stop it (`ss -ltnp` names it) or choose another port, 0 for a free one"
            )
        case EADDRNOTAVAIL, EAFNOSUPPORT:
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
