// Owns the configuration of a server: address, limits, timeouts and memory.

internal import Glibc
internal import Platform
public import Telemetry

/// The configuration of a server.
public struct HTTPServerConfiguration: Sendable {
    /// Address to listen on: a numeric address, or a name that is resolved once at the start. `::` accepts IPv4 as well; `localhost`
    /// stands for both loopback addresses, and another name for all its addresses that this machine has.
    public var host: String
    /// Port to listen on; 0 takes a free one, which ``HTTPServer/port`` then names.
    public var port: UInt16
    /// Connections that are admitted. Further ones take reserved slots, where only priority routes are served
    /// (``HTTPHandler/isPriority(_:)``); with another request they take the slot of an idle connection.
    public var connectionLimit = 4096
    /// Connections that are admitted from one IPv4 address, or one IPv6 /64; further ones as above. 0: no limit.
    public var connectionsPerAddress = 0
    /// Slots for connections beyond the two limits; when all are taken, the oldest idle one is closed for a new one.
    public var reservedSlots = 64
    /// Idle timeout of a connection, in whole seconds. A connection whose request is being handled is exempt.
    public var idleTimeout: Duration = .seconds(75)
    /// How long the header of a request may take, TLS's handshake included: from the opening of a connection, and on a kept one from the
    /// end of ``idleTimeout`` after the last response.
    public var headerTimeout: Duration = .seconds(10)
    /// How long a body may take before the minimum transfer rate ``bodyRate`` applies. Time in which the server does not read it does not
    /// count.
    public var bodyTimeout: Duration = .seconds(10)
    /// Minimum transfer rate in bytes a second, on average after ``bodyTimeout``. 0: no limit but ``idleTimeout``.
    public var bodyRate = 500
    /// The certificate of a server that speaks TLS; `nil`: it speaks plain HTTP.
    public var identity: TLSIdentity?
    /// Longest body in bytes, where the handler sets no other limit. A longer one gets 413.
    public var maxBodyBytes = 1 << 20
    /// Memory in bytes of all bodies that are being collected, beyond 4 KiB of each. A request that needs more gets 503.
    public var bodyMemoryBytes = 64 << 20
    /// Longest body in bytes that is read and dropped before the response 429 or 503, so that the client keeps its connection. To a longer
    /// body, to one without a Content-Length, and to one with another refusal, the response is sent at once and ends the connection; 64 KiB
    /// of the rest are still read, for two seconds, so that the client reads the response before it meets a reset.
    public var discardBytes = 1 << 20
    /// Bytes that are read and dropped of the rest of a body that a reader takes no more of: beyond it the connection ends without a
    /// response.
    public var streamDiscardBytes = 16 << 20
    /// Memory of one connection in bytes: the limit of a request's header, and the size of the pieces in which bodies arrive.
    /// libmicrohttpd clears it for every request: 128 KiB instead of 16 halve the request rate.
    public var poolBytes = 16 << 10
    /// Connections that the kernel completes before they are accepted (`listen(2)`), which it limits to `net.core.somaxconn`: 4,096 by
    /// default. A connection beyond it is tried again after a second.
    public var backlog = 4096
    /// How long ``HTTPRefusal/unanswered`` responses may take to be sent after the deadline of ``HTTPServer/stop(deadline:)``.
    public var shutdownGrace: Duration = .milliseconds(250)

    /// A server at `host` and `port`; everything else has defaults.
    public init(host: String = "127.0.0.1", port: UInt16 = 8000) {
        self.host = host
        self.port = port
    }

    /// - Throws: ``HTTPServerError/Code/invalidConfiguration`` for the first value that is out of its range.
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
    var connectionLimits: ConnectionLimitMachine.Limits {
        ConnectionLimitMachine.Limits(
            slots: connectionLimit, perNetwork: connectionsPerAddress, reservedSlots: reservedSlots)
    }

    var rateLimits: TransferRateMachine.Limits {
        TransferRateMachine.Limits(
            header: headerTimeout.nanoseconds, bodyGrace: bodyTimeout.nanoseconds, bodyRate: bodyRate)
    }

    /// The idle timeout; libmicrohttpd takes whole seconds.
    var idleNanoseconds: UInt64 { UInt64(max(0, idleTimeout.components.seconds)) * 1_000_000_000 }

    /// The configuration with connection limits that the process's file descriptors allow.
    func fitted(_ log: HTTPLog) -> HTTPServerConfiguration {
        let capacity = DescriptorLimit.capacity(for: connectionLimit + reservedSlots)
        guard capacity < connectionLimit + reservedSlots else { return self }
        var fitted = self
        fitted.reservedSlots = max(1, min(reservedSlots, capacity / 4))
        fitted.connectionLimit = max(1, capacity - fitted.reservedSlots)
        log(
            .warning, "Connection limit lowered: too few file descriptors.",
            "\(connectionLimit) connections were asked for and \(fitted.connectionLimit) are taken; raise the hard limit (`ulimit -Hn`)"
        )
        return fitted
    }
}

/// Takes one log line: its level, what happened, and the details or libmicrohttpd's own text.
public typealias HTTPLog = @Sendable (_ level: LogLevel, _ sentence: StaticString, _ message: String) -> Void

/// The limit of file descriptors of this process (RLIMIT_NOFILE).
enum DescriptorLimit {
    /// Descriptors that are left to the rest of the process.
    static let others = 256

    /// Raises the soft limit towards the hard limit where `connections` need it. Nothing in this process uses `select`, which fails beyond
    /// 1,024.
    /// - Returns: how many connections the limit allows; at least 1.
    static func capacity(for connections: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return connections }
        let wanted = rlim_t(connections + others)
        if limit.rlim_cur < wanted, limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = min(wanted, limit.rlim_max)
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return max(1, min(connections, Int(clamping: limit.rlim_cur) - others))
    }
}
