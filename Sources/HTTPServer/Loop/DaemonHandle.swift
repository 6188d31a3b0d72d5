// Owns libmicrohttpd's daemon and the callbacks through which it enters the loop.

internal import CMicrohttpd
internal import Glibc

/// One `MHD_Daemon` without a thread of its own. All calls on the thread that runs it.
struct DaemonHandle: ~Copyable {
    private let pointer: OpaquePointer
    private let sink: UnsafeMutablePointer<sluice_mhd_sink>
    /// The daemon's epoll descriptor, for the loop's own epoll. It belongs to the daemon.
    let epollDescriptor: Int32

    /// - Parameter owner: receives every callback. Must live until after this handle: the daemon keeps an unretained pointer.
    init(
        socket: consuming ListenSocket, configuration: HTTPServerConfiguration, owner: ServerLoop
    ) throws(HTTPServerError) {
        var options = [
            MHD_OptionItem(.LISTEN_SOCKET, Int(socket.descriptor)),
            // The loop keeps the limits of connections itself: they change while it runs, and let pass what is vital.
            MHD_OptionItem(.CONNECTION_LIMIT, 1 << 20),
            MHD_OptionItem(.CONNECTION_TIMEOUT, Int(configuration.idleTimeout.components.seconds)),
            MHD_OptionItem(.CONNECTION_MEMORY_LIMIT, configuration.poolBytes),
            // A request for HTTP/1.1 without Host is 400. (0.9.75 sends the head of this answer, and of the one to a malformed
            // Content-Length, twice: the status is right, the body is not. The connection is closed either way.)
            MHD_OptionItem(.STRICT_FOR_CLIENT, 1),
            // The loop's thread blocks every signal, SIGPIPE among them.
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
            // The library leaves a socket it was given open when it fails; ours closes itself.
            sink.deallocate()
            throw HTTPServerError(
                .system,
                "HTTP server: libmicrohttpd did not start; its last message stands in the log above, and the usual cause is "
                    + "too few file descriptors (`ulimit -n`)")
        }
        // From here on the library closes the socket.
        _ = socket.release()
        pointer = started
        self.sink = sink
        epollDescriptor = sluice_mhd_epoll_fd(started)
    }

    deinit {
        MHD_stop_daemon(pointer)
        sink.deallocate()
    }

    /// Milliseconds until the daemon must be run though nothing happened; `nil`: any time will do.
    var timeout: UInt64? {
        var milliseconds: UInt64 = 0
        return MHD_get_timeout(pointer, &milliseconds) == .YES ? milliseconds : nil
    }

    /// Does what can be done without waiting. The callbacks are called from here.
    func run() { _ = MHD_run(pointer) }

    /// Stops listening. Connections that are open stay.
    func quiesce() {
        let descriptor = MHD_quiesce_daemon(pointer)
        if descriptor >= 0 { close(descriptor) }
    }
}

extension MHD_OptionItem {
    fileprivate init(_ option: MHD_OPTION, _ value: Int) { self.init(option: option, value: value, ptr_value: nil) }
}

// The five doors through which libmicrohttpd calls in. Each finds the loop by the unretained pointer given to `DaemonHandle`: the
// loop's thread holds the loop until the daemon is gone.

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

/// Called inside `MHD_run`, so on the loop's thread; the manual wants what it lends to live as long as the handshake.
private let certificateCallback: sluice_mhd_certificate = { _, _, _, _, _, chain, length, key in
    LoopOfThread.with { $0.lendIdentity(chain!, length!, key!) }
}

private let messageCallback: @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?) -> Void = { owner, text in
    Unmanaged<ServerLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.messageCame(String(cString: text!)) }
}
