// Decides what becomes of a request's body: read, dropped, or not waited for.

/// The life of one request's body. Pure; one instance a request.
struct BodyMachine: ~Copyable {
    enum HeaderAction: Equatable {
        /// Read the body. `expecting`: bytes the client named, 0 where it named none.
        case read(expecting: Int)
        /// Read the body and drop it, then answer: the client keeps its connection, and sees the answer though it writes first.
        case discard
        /// Answer before the body, which ends the connection.
        case answerNow
    }

    enum PieceAction: Equatable {
        case append
        case discard
        /// The client has been listened to long enough: end the connection without an answer.
        case close
    }

    enum EndAction: Equatable {
        case handle
        /// The body broke its limit; it has been dropped.
        case refuse
        /// The request was refused at its header.
        case answer
    }

    /// Most bytes the body may have.
    private(set) var limit: Int
    private let discardBytes: Int
    private var isRefused: Bool
    private var isTooLong = false
    private var isStopped = false
    private var received = 0
    private var announced: Int?

    /// - Parameters:
    ///   - limit: bytes the body may have; ignored where the request is refused anyhow.
    ///   - discardBytes: bytes of a refused body, or beyond the limit, that are read before the connection is given up.
    ///   - isRefused: the request's answer stands already.
    init(limit: Int, discardBytes: Int, isRefused: Bool) {
        self.limit = isRefused ? 0 : limit
        self.discardBytes = discardBytes
        self.isRefused = isRefused
    }

    /// - Parameters:
    ///   - length: bytes the client named, `nil` where it sends chunks.
    ///   - expectsContinue: the client waits for 100 before it sends the body.
    mutating func headerReceived(length: Int?, expectsContinue: Bool) -> HeaderAction {
        announced = length
        if let length, length > limit { isTooLong = true }
        guard isRefused || isTooLong else { return .read(expecting: length ?? 0) }
        if length == 0 { return .discard }
        // A client that waits for 100 has sent nothing yet: the answer now spares it the body.
        if expectsContinue { return .answerNow }
        if let length, length > limit + discardBytes { return .answerNow }
        return .discard
    }

    /// How many of `count` bytes a reader may see.
    func offered(_ count: Int) -> Int { isRefused || isTooLong || isStopped ? 0 : min(count, limit - received) }

    /// Another bound than the one the header was judged by.
    mutating func limitLowered(to bytes: Int) {
        guard bytes < limit else { return }
        limit = bytes
        if let announced, announced > bytes { isTooLong = true }
    }

    /// There is an answer before the end: what comes is dropped.
    mutating func refused() {
        isRefused = true
        limit = received
    }

    /// The reader has seen enough: so much is the body, and the rest is dropped.
    mutating func readerStopped() {
        guard !isStopped, !isTooLong else { return }
        isStopped = true
        limit = received
    }

    /// The body is longer than its limit, and not because the reader has stopped.
    var isCut: Bool { isTooLong && !isStopped }

    mutating func pieceReceived(_ count: Int) -> PieceAction {
        received += count
        if received > limit { isTooLong = true }
        if received > limit + discardBytes { return .close }
        return isRefused || isTooLong ? .discard : .append
    }

    func bodyEnded() -> EndAction { isRefused ? .answer : isTooLong ? .refuse : .handle }
}
