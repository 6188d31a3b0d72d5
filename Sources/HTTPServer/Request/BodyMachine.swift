// Decides whether a request's body is read, dropped, or not waited for.

/// The body of one request. Pure.
struct BodyMachine: ~Copyable {
    enum HeaderAction: Equatable {
        /// Read the body. `expecting`: its Content-Length, 0 where it has none.
        case read(expecting: Int)
        /// Read and drop the body, then respond: the client keeps its connection, and gets the response though it sends the body first.
        case discard
        /// Respond before the body, which ends the connection.
        case respondNow
    }

    enum PieceAction: Equatable {
        case append
        case discard
        /// More bytes came than are dropped: end the connection without a response.
        case close
    }

    enum EndAction: Equatable {
        case handle
        /// The body was longer than its limit and has been dropped: respond with 413.
        case refuse
        /// The request was refused earlier: send that response.
        case respond
    }

    /// Most bytes the body may have.
    private(set) var limit: Int
    private let discardBytes: Int
    private var isRefused: Bool
    private var isTooLong = false
    private var isStopped = false
    /// Bytes taken off the wire.
    private(set) var received = 0
    private var announced: Int?

    /// - Parameters:
    ///   - limit: bytes the body may have; ignored where the request is refused.
    ///   - discardBytes: bytes of a refused body, or beyond the limit, that are read before the connection is closed.
    ///   - isRefused: the request was refused at its header.
    init(limit: Int, discardBytes: Int, isRefused: Bool) {
        self.limit = isRefused ? 0 : limit
        self.discardBytes = discardBytes
        self.isRefused = isRefused
    }

    /// - Parameters:
    ///   - length: the Content-Length; `nil` for a chunked body.
    ///   - expectsContinue: the client waits for 100 before it sends the body.
    mutating func headerReceived(length: Int?, expectsContinue: Bool) -> HeaderAction {
        announced = length
        if let length, length > limit { isTooLong = true }
        guard isRefused || isTooLong else { return .read(expecting: length ?? 0) }
        if length == 0 { return .discard }
        // A client that waits for 100 has not sent the body yet, and now need not.
        if expectsContinue { return .respondNow }
        if let length, length > limit + discardBytes { return .respondNow }
        return .discard
    }

    /// How many of `count` bytes are offered to the reader.
    func offered(_ count: Int) -> Int { isRefused || isTooLong || isStopped ? 0 : min(count, limit - received) }

    /// The limit became lower than the one at the header.
    mutating func limitLowered(to bytes: Int) {
        guard bytes < limit else { return }
        limit = bytes
        if let announced, announced > bytes { isTooLong = true }
    }

    /// The request was refused inside its body: the rest is dropped.
    mutating func refused() {
        isRefused = true
        limit = received
    }

    /// The reader takes no more: the rest is dropped, and does not make the body too long.
    mutating func readerStopped() {
        guard !isStopped, !isTooLong else { return }
        isStopped = true
        limit = received
    }

    /// The body is longer than its limit.
    var isCut: Bool { isTooLong && !isStopped }

    mutating func pieceReceived(_ count: Int) -> PieceAction {
        received += count
        if received > limit { isTooLong = true }
        if received > limit + discardBytes { return .close }
        return isRefused || isTooLong ? .discard : .append
    }

    func bodyEnded() -> EndAction { isRefused ? .respond : isTooLong ? .refuse : .handle }
}
