// Owns what is known of each open connection, and ends those whose clients are too slow or too many.

internal import CMicrohttpd
internal import Glibc

/// One open connection. libmicrohttpd carries an unretained pointer to it; the table holds it until the connection is closed.
final class ConnectionRecord {
    let number: Int
    let descriptor: Int32
    var pace: TransferRateMachine

    init(number: Int, descriptor: Int32, pace: consuming TransferRateMachine) {
        self.number = number
        self.descriptor = descriptor
        self.pace = pace
    }
}

/// The open connections. Confined to the loop's thread.
struct ConnectionTable: ~Copyable {
    /// How often clients are looked at: a deadline is kept to within this and a turn of the loop.
    private static let interval: UInt64 = 250_000_000
    /// Looks that lie further apart mean that the loop stood still: the process was stopped, or got no processor.
    private static let stall: UInt64 = 1_000_000_000
    /// Sent before a connection ends whose body was too slow. One whose header was too slow ends without: it may never have asked for
    /// anything, and would take this for the answer to what it asks next.
    private static let tooSlow: [UInt8] = {
        let body = #"{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The body came too slowly."}"#
        let head =
            "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            + "Content-Length: \(body.utf8.count)\r\n\r\n"
        return Array((head + body).utf8)
    }()

    private var places: ConnectionLimitMachine
    private var pace: TransferRateMachine.Limits
    private let isEncrypted: Bool
    /// By number.
    private var records: [ConnectionRecord?] = []
    /// How long libmicrohttpd lets a new connection be silent.
    private var idle: UInt64
    private var lastLook: UInt64?

    init(_ configuration: HTTPServerConfiguration) {
        places = ConnectionLimitMachine(configuration.places)
        pace = configuration.pace
        idle = configuration.idleNanoseconds
        isEncrypted = configuration.identity != nil
    }

    /// Connections opened before keep their places and their idle time.
    mutating func update(_ configuration: HTTPServerConfiguration) {
        places.update(configuration.places)
        pace = configuration.pace
        idle = configuration.idleNanoseconds
    }

    /// A connection has been accepted. Answers what libmicrohttpd is to carry for it, and whether another one had to go.
    mutating func opened(_ connection: OpaquePointer, now: UInt64) -> (context: UnsafeMutableRawPointer, hasEvicted: Bool) {
        let opened = places.opened(from: sluice_mhd_client_address(connection).flatMap { SocketAddress($0)?.network })
        let number = opened.number
        let record = ConnectionRecord(
            number: number, descriptor: sluice_mhd_socket(connection), pace: TransferRateMachine(openedAt: now, idle: idle))
        if number == records.count { records.append(record) } else { records[number] = record }
        if let evicted = opened.evicted, let last = records[evicted] { Self.end(last) }
        return (Unmanaged.passUnretained(record).toOpaque(), opened.evicted != nil)
    }

    mutating func closed(_ context: UnsafeMutableRawPointer) {
        let number = Self.record(context).number
        places.closed(number)
        records[number] = nil
    }

    /// The header of a request is there. Answers whether the request is served.
    mutating func requested(_ connection: OpaquePointer, isPriority: Bool) -> Bool {
        places.requested(Self.record(connection).number, isPriority: isPriority)
    }

    /// What becomes of the body has been decided.
    func headerReceived(_ connection: OpaquePointer, now: UInt64, isBodyExpected: Bool) {
        Self.record(connection).pace.headerReceived(now: now, isBodyExpected: isBodyExpected)
    }

    /// - Parameter count: bytes that are taken; what will be offered again is counted then.
    func pieceReceived(_ connection: OpaquePointer, _ count: Int) { Self.record(connection).pace.pieceReceived(count) }

    /// Nobody reads from the connection for now.
    func paused(_ connection: OpaquePointer, now: UInt64) { Self.record(connection).pace.paused(now: now) }

    /// The connection is read from again.
    func resumed(_ connection: OpaquePointer, now: UInt64) { Self.record(connection).pace.resumed(now: now) }

    /// The whole request is there, and its answer is being made.
    mutating func requestReceived(_ connection: OpaquePointer) {
        let record = Self.record(connection)
        places.requestReceived(record.number)
        record.pace.requestReceived()
    }

    /// A long answer is on its way. Its client is held to a pace by what is told of it.
    func answerBegan(_ connection: OpaquePointer, now: UInt64) -> (_ count: Int) -> Void {
        let record = Self.record(connection)
        record.pace.answerBegan(now: now)
        return { record.pace.pieceSent($0) }
    }

    /// There is an answer. It may come before the body has ended.
    mutating func answered(_ connection: OpaquePointer) { places.answered(Self.record(connection).number) }

    mutating func requestEnded(_ connection: OpaquePointer, now: UInt64) {
        let record = Self.record(connection)
        places.requestEnded(record.number)
        record.pace.requestEnded(now: now)
    }

    /// Ends the connections whose clients took too long; calls `ended` for each.
    mutating func look(now: UInt64, _ ended: (TransferRateMachine.Fault) -> Void) {
        let gap = lastLook.map { now - $0 } ?? Self.interval
        guard gap >= Self.interval else { return }
        lastLook = now
        for case let record? in records {
            // What clients sent while the loop stood still is only now being read.
            if gap > Self.stall { record.pace.stalled(for: gap - Self.interval, now: now) }
            guard let fault = record.pace.fault(now: now, pace) else { continue }
            // Before the client can know of it.
            ended(fault)
            if fault == .body, !isEncrypted {
                // Whether it gets there is the client's business.
                _ = Self.tooSlow.withUnsafeBytes {
                    send(record.descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
                }
            }
            Self.end(record)
            // Ended once: libmicrohttpd closes it in its next turn.
            record.pace.requestReceived()
        }
    }

    /// libmicrohttpd then finds the end of the stream, and closes the connection by itself.
    private static func end(_ record: ConnectionRecord) { shutdown(record.descriptor, Int32(SHUT_RDWR)) }

    private static func record(_ connection: OpaquePointer) -> ConnectionRecord { record(sluice_mhd_context(connection)) }

    private static func record(_ context: UnsafeMutableRawPointer) -> ConnectionRecord {
        Unmanaged<ConnectionRecord>.fromOpaque(context).takeUnretainedValue()
    }
}
