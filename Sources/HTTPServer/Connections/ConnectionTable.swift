// Owns the state of each open connection, and closes those that are evicted or whose clients are too slow.

internal import CMicrohttpd
internal import Glibc

/// One open connection. libmicrohttpd carries an unretained pointer to it; the table holds it until the connection is closed.
final class ConnectionRecord {
    let number: Int
    let descriptor: Int32
    var rate: TransferRateMachine
    /// The request in progress.
    var exchange: Unmanaged<HTTPExchange>?

    init(number: Int, descriptor: Int32, rate: consuming TransferRateMachine) {
        self.number = number
        self.descriptor = descriptor
        self.rate = rate
    }
}

/// The open connections. Confined to the loop's thread.
struct ConnectionTable: ~Copyable {
    /// How often clients are checked, in nanoseconds: the precision of every deadline.
    private static let checkInterval: UInt64 = 250_000_000
    /// Checks further apart than this mean that the loop stood still: the process was stopped, or got no processor.
    private static let loopDelay: UInt64 = 1_000_000_000

    private var limiter: ConnectionLimitMachine
    private var rateLimits: TransferRateMachine.Limits
    /// By number.
    private var records: [ConnectionRecord?] = []
    /// libmicrohttpd's idle timeout for new connections.
    private var idle: UInt64
    private var checkedAt: UInt64?

    init(_ configuration: HTTPServerConfiguration) {
        limiter = ConnectionLimitMachine(configuration.connectionLimits)
        rateLimits = configuration.rateLimits
        idle = configuration.idleNanoseconds
    }

    /// Connections that are open stay admitted and keep their idle timeout.
    mutating func update(_ configuration: HTTPServerConfiguration) {
        limiter.update(configuration.connectionLimits)
        rateLimits = configuration.rateLimits
        idle = configuration.idleNanoseconds
    }

    subscript(connection: OpaquePointer) -> ConnectionRecord { Self.record(sluice_mhd_context(connection)) }

    /// A connection has been accepted.
    /// - Returns: what libmicrohttpd is to carry for it, and whether a connection was evicted.
    mutating func opened(_ connection: OpaquePointer, now: UInt64) -> (context: UnsafeMutableRawPointer, hasEvicted: Bool) {
        let opened = limiter.opened(from: sluice_mhd_client_address(connection).flatMap { SocketAddress($0)?.network })
        let number = opened.number
        let record = ConnectionRecord(
            number: number, descriptor: sluice_mhd_socket(connection), rate: TransferRateMachine(openedAt: now, idle: idle))
        if number == records.count { records.append(record) } else { records[number] = record }
        if let evicted = opened.evicted, let record = records[evicted] { Self.close(record) }
        return (Unmanaged.passUnretained(record).toOpaque(), opened.evicted != nil)
    }

    mutating func closed(_ context: UnsafeMutableRawPointer) {
        let number = Self.record(context).number
        limiter.closed(number)
        records[number] = nil
    }

    /// The header of a request was received.
    /// - Returns: whether the request is served, and whether another connection was evicted for it.
    mutating func requested(_ connection: OpaquePointer, isPriority: Bool) -> (isServed: Bool, hasEvicted: Bool) {
        let requested = limiter.requested(self[connection].number, isPriority: isPriority)
        if let evicted = requested.evicted, let record = records[evicted] { Self.close(record) }
        return (requested.isServed, requested.evicted != nil)
    }

    /// The whole request was received and is being handled.
    mutating func requestReceived(_ connection: OpaquePointer) {
        let record = self[connection]
        limiter.requestReceived(record.number)
        record.rate.requestReceived()
    }

    /// The response was queued.
    mutating func responded(_ connection: OpaquePointer) { limiter.responded(self[connection].number) }

    /// Sends a response past libmicrohttpd, which cannot respond inside a body. Nothing else is being sent then.
    /// - Returns: whether the kernel has taken all of it.
    mutating func refuse(_ connection: OpaquePointer, with response: [UInt8], now: UInt64) -> Bool {
        let record = self[connection]
        limiter.becameIdle(record.number)
        record.rate.requestRefused(now: now)
        return response.withUnsafeBytes { bytes in
            if let session = sluice_mhd_tls_session(connection) {
                return gnutls_record_send(session, bytes.baseAddress, bytes.count) == bytes.count
            }
            let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
            defer { shutdown(record.descriptor, Int32(SHUT_WR)) }
            return send(record.descriptor, bytes.baseAddress, bytes.count, flags) == bytes.count
        }
    }

    mutating func requestEnded(_ connection: OpaquePointer, now: UInt64) {
        let record = self[connection]
        record.exchange = nil
        limiter.becameIdle(record.number)
        record.rate.requestEnded(now: now)
    }

    /// The connections whose clients are too slow. Each is to be closed; it is not named again.
    mutating func slow(now: UInt64) -> [(record: ConnectionRecord, violation: TransferRateMachine.Violation)] {
        let gap = checkedAt.map { now - $0 } ?? Self.checkInterval
        guard gap >= Self.checkInterval else { return [] }
        checkedAt = now
        var slow: [(ConnectionRecord, TransferRateMachine.Violation)] = []
        for case let record? in records {
            if gap > Self.loopDelay { record.rate.loopDelayed(by: gap - Self.checkInterval, now: now) }
            guard let violation = record.rate.violation(now: now, rateLimits) else { continue }
            slow.append((record, violation))
            record.rate.requestReceived()
        }
        return slow
    }

    /// libmicrohttpd then reads the end of the stream, and closes the connection itself.
    static func close(_ record: ConnectionRecord) { shutdown(record.descriptor, Int32(SHUT_RDWR)) }

    private static func record(_ context: UnsafeMutableRawPointer) -> ConnectionRecord {
        Unmanaged<ConnectionRecord>.fromOpaque(context).takeUnretainedValue()
    }
}
