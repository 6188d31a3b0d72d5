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
    /// By number.
    private var records: [ConnectionRecord?] = []
    private var checkedAt: UInt64?
    /// Connections that were closed because a newer one needed their slot.
    private(set) var evicted = 0

    init(_ limits: ConnectionLimitMachine.Limits) { limiter = ConnectionLimitMachine(limits) }

    /// Connections that are open stay admitted.
    mutating func update(_ limits: ConnectionLimitMachine.Limits) { limiter.update(limits) }

    subscript(connection: OpaquePointer) -> ConnectionRecord { Self.record(sluice_mhd_context(connection)) }

    /// A connection has been accepted.
    /// - Parameter idle: libmicrohttpd's idle timeout of it.
    /// - Returns: what libmicrohttpd is to carry for it.
    mutating func opened(_ connection: OpaquePointer, now: UInt64, idle: UInt64) -> UnsafeMutableRawPointer {
        let opened = limiter.opened(from: sluice_mhd_client_address(connection).flatMap { SocketAddress($0)?.network })
        let number = opened.number
        let record = ConnectionRecord(
            number: number, descriptor: sluice_mhd_socket(connection), rate: TransferRateMachine(openedAt: now, idle: idle))
        if number == records.count { records.append(record) } else { records[number] = record }
        evict(opened.evicted)
        return Unmanaged.passUnretained(record).toOpaque()
    }

    private mutating func evict(_ number: Int?) {
        guard let number, let record = records[number] else { return }
        evicted += 1
        Self.close(record)
    }

    mutating func closed(_ context: UnsafeMutableRawPointer) {
        let number = Self.record(context).number
        limiter.closed(number)
        records[number] = nil
    }

    /// The header of a request was received.
    /// - Returns: whether the request is served.
    mutating func requested(_ connection: OpaquePointer, isPriority: Bool) -> Bool {
        let requested = limiter.requested(self[connection].number, isPriority: isPriority)
        evict(requested.evicted)
        return requested.isServed
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
    mutating func slow(
        now: UInt64, _ configuration: HTTPServerConfiguration
    ) -> [(record: ConnectionRecord, violation: TransferRateMachine.Violation)] {
        let gap = checkedAt.map { now - $0 } ?? Self.checkInterval
        guard gap >= Self.checkInterval else { return [] }
        checkedAt = now
        let limits = configuration.rateLimits
        var slow: [(ConnectionRecord, TransferRateMachine.Violation)] = []
        for case let record? in records {
            if gap > Self.loopDelay { record.rate.loopDelayed(by: gap - Self.checkInterval, now: now) }
            guard let violation = record.rate.violation(now: now, limits) else { continue }
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
