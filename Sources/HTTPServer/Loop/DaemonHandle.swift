// Owns libmicrohttpd's daemon and its callbacks.

internal import CMicrohttpd
internal import Glibc

/// libmicrohttpd, as it was loaded.
public enum HTTPLibrary {
    /// Its version, such as `0.9.75`.
    public static var version: String { String(cString: MHD_get_version()) }
}

/// One `MHD_Daemon` without a thread of its own. Confined to the thread that runs it.
struct DaemonHandle: ~Copyable {
    private let pointer: OpaquePointer
    private let sink: UnsafeMutablePointer<sluice_mhd_sink>
    /// The daemon's epoll descriptor, readable when it has something to do. It belongs to the daemon.
    let epollDescriptor: Int32
    /// Further listening sockets, from which the loop accepts.
    private(set) var listeners: [Int32]

    /// - Parameter owner: receives every callback. Must outlive this handle: the daemon keeps an unretained pointer.
    init(
        socket: consuming ListenSocket, configuration: HTTPServerConfiguration, owner: ServerLoop
    ) throws(HTTPServerError) {
        var options = [
            MHD_OptionItem(.LISTEN_SOCKET, Int(socket.descriptor)),
            // The loop limits connections itself: its limits change while it runs, and have reserved slots.
            MHD_OptionItem(.CONNECTION_LIMIT, 1 << 20),
            MHD_OptionItem(.CONNECTION_TIMEOUT, Int(configuration.idleTimeout.components.seconds)),
            MHD_OptionItem(.CONNECTION_MEMORY_LIMIT, configuration.poolBytes),
            // A request of HTTP/1.1 without Host gets 400. (0.9.75 sends the head of this response, and of the one to a malformed
            // Content-Length, twice, and then closes the connection: the status is right, the body is not.)
            MHD_OptionItem(.STRICT_FOR_CLIENT, 1),
            // The loop's thread blocks every signal, SIGPIPE included.
            MHD_OptionItem(.SIGPIPE_HANDLED_BY_APP, 1),
            MHD_OptionItem(.END, 0),
        ]
        let flags = MHD_USE_EPOLL.rawValue | MHD_ALLOW_SUSPEND_RESUME.rawValue | MHD_USE_ERROR_LOG.rawValue
        let owner = Unmanaged.passUnretained(owner).toOpaque()
        let sink = UnsafeMutablePointer<sluice_mhd_sink>.allocate(capacity: 1)
        sink.initialize(to: sluice_mhd_sink(owner: owner, message: messageCallback))
        let started = sluice_mhd_start(
            flags, owner, requestCallback, endedCallback, connectionCallback, sink,
            configuration.identity == nil ? nil : certificateCallback, CertificateStore.priorities, &options)
        guard let started else {
            // libmicrohttpd does not close the socket when it fails; `socket` does.
            sink.deallocate()
            throw HTTPServerError(
                .system,
                "HTTP server: libmicrohttpd did not start; its message is in the log above; the usual cause is too few file "
                    + "descriptors (`ulimit -n`)")
        }
        // From here on libmicrohttpd closes the first socket.
        listeners = socket.release()
        pointer = started
        self.sink = sink
        epollDescriptor = sluice_mhd_epoll_fd(started)
    }

    deinit {
        MHD_stop_daemon(pointer)
        for listener in listeners { close(listener) }
        sink.deallocate()
    }

    /// Milliseconds until the daemon must be run though nothing happened; `nil`: there is no such time.
    var timeout: UInt64? {
        var milliseconds: UInt64 = 0
        return MHD_get_timeout(pointer, &milliseconds) == .YES ? milliseconds : nil
    }

    /// Processes all ready connections without blocking. Calls the callbacks.
    func run() { _ = MHD_run(pointer) }

    /// Accepts the connections that wait at a further socket. Calls the callbacks.
    func accept(from listener: Int32) {
        var address = sockaddr_storage()
        while true {
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let isDone = withUnsafeMutableBytes(of: &address) { bytes in
                let address = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!
                let descriptor = Glibc.accept(listener, address, &length)
                // libmicrohttpd makes the socket non-blocking, and closes it when it fails.
                if descriptor >= 0 {
                    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                    _ = MHD_add_connection(pointer, descriptor, address, length)
                }
                // Without descriptors the socket stays readable: the loop must not turn without a rest.
                if descriptor < 0, errno == EMFILE || errno == ENFILE { usleep(1_000) }
                return descriptor < 0
            }
            if isDone { return }
        }
    }

    /// Closes the listening sockets. Open connections stay.
    mutating func quiesce() {
        let descriptor = MHD_quiesce_daemon(pointer)
        for descriptor in listeners + (descriptor < 0 ? [] : [descriptor]) { close(descriptor) }
        listeners = []
    }
}

extension MHD_OptionItem {
    fileprivate init(_ option: MHD_OPTION, _ value: Int) { self.init(option: option, value: value, ptr_value: nil) }
}

// The callbacks. Each finds the loop by the unretained pointer given to `DaemonHandle`: the loop's thread holds the loop until the daemon
// is stopped.

private let requestCallback: MHD_AccessHandlerCallback = { owner, connection, url, method, version, data, size, context in
    Unmanaged<ServerLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { loop in
        loop.callbacks &+= 1
        guard let known = context!.pointee else {
            return loop.requestBegan(connection!, url: url!, method: method!, version: version!, context: context!)
        }
        return Unmanaged<HTTPExchange>.fromOpaque(known)._withUnsafeGuaranteedRef { exchange in
            guard size!.pointee > 0 else { return loop.requestContinued(exchange) }
            return loop.pieceReceived(exchange, data!, size: size!)
        }
    }
}

private let endedCallback: MHD_RequestCompletedCallback = { owner, _, context, code in
    guard let known = context!.pointee else { return }
    context!.pointee = nil
    let exchange = Unmanaged<HTTPExchange>.fromOpaque(known).takeRetainedValue()
    Unmanaged<ServerLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { loop in
        loop.callbacks &+= 1
        loop.requestEnded(exchange, isDelivered: code == .REQUEST_TERMINATED_COMPLETED_OK)
    }
}

private let connectionCallback: MHD_NotifyConnectionCallback = { owner, connection, context, code in
    Unmanaged<ServerLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { loop in
        loop.callbacks &+= 1
        if code == .CONNECTION_NOTIFY_STARTED {
            context!.pointee = loop.connectionOpened(connection!)
        } else {
            loop.connectionClosed(context!.pointee)
            context!.pointee = nil
        }
    }
}

/// Called inside `MHD_run`, so on the loop's thread. The certificate must outlive the handshake, which `CertificateStore` ensures.
private let certificateCallback: sluice_mhd_certificate = { _, _, _, _, _, chain, length, key in
    CurrentLoop.with { $0.certificates.retrieve(chain!, length!, key!) }
}

private let messageCallback: @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?) -> Void = { owner, text in
    Unmanaged<ServerLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.messageLogged(String(cString: text!)) }
}
