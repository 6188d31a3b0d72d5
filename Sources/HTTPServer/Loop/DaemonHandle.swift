// Owns libmicrohttpd's daemon and its callbacks.

internal import CMicrohttpd
internal import Glibc

/// One `MHD_Daemon` without a thread of its own. Confined to the thread that runs it.
struct DaemonHandle: ~Copyable {
    private let pointer: OpaquePointer
    private let sink: UnsafeMutablePointer<sluice_mhd_sink>
    /// The daemon's epoll descriptor, readable when it has something to do. It belongs to the daemon.
    let epollDescriptor: Int32

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
        // From here on libmicrohttpd closes the socket.
        _ = socket.release()
        pointer = started
        self.sink = sink
        epollDescriptor = sluice_mhd_epoll_fd(started)
    }

    deinit {
        MHD_stop_daemon(pointer)
        sink.deallocate()
    }

    /// Milliseconds until the daemon must be run though nothing happened; `nil`: there is no such time.
    var timeout: UInt64? {
        var milliseconds: UInt64 = 0
        return MHD_get_timeout(pointer, &milliseconds) == .YES ? milliseconds : nil
    }

    /// Processes all ready connections without blocking. Calls the callbacks.
    func run() { _ = MHD_run(pointer) }

    /// Closes the listening socket. Open connections stay.
    func quiesce() {
        let descriptor = MHD_quiesce_daemon(pointer)
        if descriptor >= 0 { close(descriptor) }
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
            let count = size!.pointee
            guard count > 0 else { return loop.requestContinued(exchange) }
            guard case .collect = exchange.intake else {
                return loop.pieceStreamed(exchange, data!, size: size!)
            }
            size!.pointee = 0
            return loop.pieceReceived(exchange, data!, count: count)
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
