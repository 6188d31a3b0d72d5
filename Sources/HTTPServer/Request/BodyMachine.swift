// Decides whether a request's body is read, dropped, or not waited for.

/// The body of one request. Pure.
struct BodyMachine: ~Copyable {
    /// Why the request is refused at its header.
    enum Refusal {
        /// No body can change it: the client gets the response at once.
        case final
        /// It passes, and the client is welcome: where the body is short, its connection is kept.
        case passing
    }

    enum HeaderAction: Equatable {
        /// Read the body. `expecting`: its Content-Length, 0 where it has none.
        case read(expecting: Int)
        /// Read and drop the body, then respond: the client keeps its connection.
        case discard
        /// Respond before the body, and drop what still comes of it.
        case respondEarly
        /// Respond without a body, which ends the connection: the client waits for 100, and now need not send it.
        case respondNow
    }

    enum PieceAction: Equatable {
        case append
        case discard
        /// The body is longer than its limit.
        case refuse
        /// More bytes came than are dropped: end the connection.
        case close
    }

    /// Bytes of a body that are still read after the response has been sent.
    static let drainBytes = 64 << 10

    /// Bytes beyond the limit that a compressed body may have on the wire.
    private static let codedSlack = 64 << 10

    /// Most bytes the body may have, decoded.
    private(set) var limit: Int
    /// Bytes that came off the wire: more or fewer than were offered to the handler where the body is compressed.
    private(set) var wireBytes = 0
    /// Bytes beyond the limit that are read and dropped.
    private var discardBytes: Int
    private(set) var refusal: Refusal?
    private var isCoded = false
    private var isTooLong = false
    private var isStopped = false
    /// Bytes taken off the wire.
    private(set) var received = 0
    private var announced: Int?

    /// - Parameters:
    ///   - limit: bytes the body may have; ignored where the request is refused.
    ///   - discardBytes: bytes of a refused body, or beyond the limit, that are read before the connection is closed.
    ///   - refusal: `nil`: the request is not refused at its header.
    init(limit: Int, discardBytes: Int, refusal: Refusal?) {
        self.limit = refusal == nil ? limit : 0
        self.discardBytes = discardBytes
        self.refusal = refusal
    }

    /// - Parameters:
    ///   - length: the Content-Length; `nil` for a chunked body.
    ///   - isCoded: the body is compressed, so that its length says nothing about the limit.
    ///   - expectsContinue: the client waits for 100 before it sends the body.
    mutating func headerReceived(length: Int?, isCoded: Bool = false, expectsContinue: Bool) -> HeaderAction {
        self.isCoded = isCoded
        announced = isCoded ? nil : length
        if let announced, announced > limit { isTooLong = true }
        guard refusal != nil || isTooLong else { return .read(expecting: length ?? 0) }
        if length == 0 { return .discard }
        if expectsContinue { return .respondNow }
        return refusal == .passing && isShort(length) ? .discard : .respondEarly
    }

    private func isShort(_ length: Int?) -> Bool { length.map { $0 - received <= discardBytes } ?? false }

    /// What still comes of the body is dropped.
    var isDropped: Bool { refusal != nil || isTooLong || isStopped }

    /// How many of `count` bytes are offered to the reader.
    func offered(_ count: Int) -> Int { isDropped ? 0 : min(count, limit - received) }

    /// The limit became lower than the one at the header.
    mutating func limitLowered(to bytes: Int) {
        guard bytes < limit else { return }
        limit = bytes
        if let announced, announced > bytes { isTooLong = true }
    }

    /// The request was refused after its header, for a reason that passes: the rest is dropped.
    /// - Parameter length: the Content-Length of a compressed body.
    /// - Returns: whether the response waits for the rest, so that the client keeps its connection.
    mutating func refused(length: Int? = nil) -> Bool {
        refusal = .passing
        limit = received
        return isShort(length ?? announced)
    }

    /// The response has been sent: little of the rest is dropped.
    mutating func answered() {
        refusal = .final
        (limit, discardBytes) = (received, Self.drainBytes)
    }

    /// The reader takes no more: the rest is dropped, and does not make the body too long.
    mutating func readerStopped() {
        guard !isStopped, !isTooLong else { return }
        isStopped = true
        limit = received
    }

    /// The body is longer than its limit.
    var isCut: Bool { isTooLong && !isStopped }

    /// Bytes came off the wire.
    mutating func arrived(_ count: Int) {
        wireBytes += count
        // A compressed body is hardly longer than what it holds. One that holds nothing would never reach the limit.
        if isCoded, !isDropped, wireBytes > limit + Self.codedSlack { isTooLong = true }
    }

    /// Bytes of the body were taken or dropped, decoded ones of a compressed body.
    mutating func pieceReceived(_ count: Int) -> PieceAction {
        received += count
        if received > limit { isTooLong = true }
        if received > limit + discardBytes { return .close }
        if refusal != nil || isStopped { return .discard }
        return isTooLong ? .refuse : .append
    }
}
