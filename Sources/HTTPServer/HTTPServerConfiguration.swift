// Says how a server listens and what a client may cost it.

/// How a server listens, and what one client may cost it.
public struct HTTPServerConfiguration: Sendable {
    /// Address to listen on: a numeric address, or a name that is looked up once at start. `::` takes IPv4 too.
    public var host: String
    /// Port to listen on; 0 takes a free one, which ``HTTPServer/port`` then names.
    public var port: UInt16
    /// Connections that are served at once; further ones are served vital routes only (``HTTPHandler/isPriority(_:)``), from the reserve.
    public var connectionLimit = 4096
    /// Connections that are served at once from one IPv4 address, or one /64 of IPv6; further ones as above. 0: no limit.
    public var connectionsPerAddress = 0
    /// Connections beyond the two limits; where there are more, the oldest that asks for nothing is closed.
    public var reservedSlots = 64
    /// A connection on which nothing happens for so long is closed, whole seconds. A connection that waits for its answer is exempt.
    public var idleTimeout: Duration = .seconds(60)
    /// How long the header of a request may take, TLS's handshake included: from the connection's beginning, and on one that is kept from the
    /// end of ``idleTimeout`` after the last answer.
    public var headerTimeout: Duration = .seconds(10)
    /// How long a body may take before it must have come at ``bodyRate`` on average since then. The time in which nobody reads it is not
    /// counted.
    public var bodyTimeout: Duration = .seconds(10)
    /// Bytes a second a body must come at, behind ``bodyTimeout``. 0: no limit but ``idleTimeout``.
    public var bodyRate = 500
    /// The certificate of a server that speaks TLS; `nil`: it speaks plain HTTP.
    public var identity: TLSIdentity?
    /// Longest body that is read, in bytes, where the handler asks for no other bound. A longer one is answered with 413.
    public var maxBodyBytes = 1 << 20
    /// Memory in bytes that all bodies which are being collected may hold together, beyond 4 KiB of each. Who needs more is answered
    /// 503.
    public var bodyMemoryBytes = 64 << 20
    /// Bytes of a refused body that are still read, so that the client sees the answer and keeps its connection. A longer one is
    /// answered before its body.
    public var discardBytes = 1 << 20
    /// The same for a body without a length, and for one that is read piece by piece and was cut short: beyond it the connection ends
    /// without an answer.
    public var streamDiscardBytes = 16 << 20
    /// Memory of one connection in bytes: the bound on a request's header, and the size of the pieces bodies arrive in. It is
    /// cleared for every request: 128 KiB instead of 16 halves the rate.
    public var poolBytes = 16 << 10
    /// Connections the kernel completes before they are accepted.
    public var backlog = 1024
    /// How long unanswered requests are given to hear that the server is stopping, after the deadline of ``HTTPServer/stop(deadline:)``.
    public var shutdownGrace: Duration = .milliseconds(250)

    /// A server at `host` and `port`; everything else has defaults.
    public init(host: String = "127.0.0.1", port: UInt16 = 8000) {
        self.host = host
        self.port = port
    }

    /// Throws where a value cannot work.
    func check() throws(HTTPServerError) {
        let least = [
            ("connectionLimit", connectionLimit, 1), ("connectionsPerAddress", connectionsPerAddress, 0),
            ("idleTimeout", Int(idleTimeout.components.seconds), 1), ("maxBodyBytes", maxBodyBytes, 0),
            ("shutdownGrace", Int(shutdownGrace.components.seconds), 0), ("discardBytes", discardBytes, 0),
            ("streamDiscardBytes", streamDiscardBytes, 0),
            ("bodyMemoryBytes", bodyMemoryBytes, 0), ("poolBytes", poolBytes, 1024),
            ("backlog", backlog, 1), ("reservedSlots", reservedSlots, 1),
            ("headerTimeout", Int(headerTimeout.components.seconds), 0),
            ("bodyTimeout", Int(bodyTimeout.components.seconds), 0), ("bodyRate", bodyRate, 0),
        ]
        for (name, value, minimum) in least where value < minimum || value > Int(Int32.max) {
            throw HTTPServerError(
                .invalidConfiguration, "HTTP server: \(name) is \(value); it must lie between \(minimum) and \(Int32.max)")
        }
    }
}

extension HTTPServerConfiguration {
    /// The limits of connections, for those who keep them.
    var places: ConnectionLimitMachine.Limits {
        ConnectionLimitMachine.Limits(places: connectionLimit, perNetwork: connectionsPerAddress, reserve: reservedSlots)
    }

    /// The limits of time, for those who keep them.
    var pace: TransferRateMachine.Limits {
        TransferRateMachine.Limits(
            header: headerTimeout.wholeNanoseconds, bodyGrace: bodyTimeout.wholeNanoseconds, bodyRate: bodyRate)
    }

    /// How long libmicrohttpd lets a connection be silent; it knows whole seconds.
    var idleNanoseconds: UInt64 { UInt64(max(0, idleTimeout.components.seconds)) * 1_000_000_000 }

    /// As much of it as the process has descriptors for.
    func fitted(_ log: (HTTPLogLevel, String) -> Void) -> HTTPServerConfiguration {
        let room = DescriptorLimit.room(for: connectionLimit + reservedSlots)
        guard room < connectionLimit + reservedSlots else { return self }
        var fitted = self
        fitted.reservedSlots = max(1, min(reservedSlots, room / 4))
        fitted.connectionLimit = max(1, room - fitted.reservedSlots)
        log(
            .warning,
            "this process may have too few file descriptors (`ulimit -Hn`) for \(connectionLimit) connections; it takes "
                + "\(fitted.connectionLimit)")
        return fitted
    }
}

extension Duration {
    fileprivate var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1_000_000_000 + UInt64(max(0, attoseconds)) / 1_000_000_000
    }
}

/// How much a log line matters.
public enum HTTPLogLevel: Sendable {
    /// Trouble of a single connection: malformed requests, connections that break.
    case debug
    /// Something an operator should know.
    case warning
    /// Something that was expected to work did not.
    case error
}
