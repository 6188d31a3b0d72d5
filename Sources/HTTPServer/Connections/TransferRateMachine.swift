// Decides when a client takes too long over a header or a body.

/// The pace of one connection's client. Pure; one instance a connection, times in monotonic nanoseconds.
///
/// Nobody tells when the first byte of a header arrives. A new connection has the header's time from its beginning on. One that is kept has
/// it behind the idle time: a silent one is closed then by libmicrohttpd, so one that still lives has begun a header before.
struct TransferRateMachine: ~Copyable {
    struct Limits: Equatable {
        /// For a whole header, TLS's handshake included.
        var header: UInt64
        /// Before a body must keep up its rate.
        var bodyGrace: UInt64
        /// Bytes a second of a body, on average behind the grace.
        var bodyRate: Int
    }

    /// What took too long.
    enum Fault: Equatable {
        case header, body
        /// The client reads its answer too slowly.
        case answer
    }

    private enum Phase {
        /// No request has come yet.
        case opened
        /// An answer has been sent, and the next request has not come.
        case kept
        case readingBody
        /// We read no body for now: its time stands still.
        case paused(at: UInt64)
        /// The request is whole: the time is ours.
        case ours
        /// A long answer is being read.
        case readingAnswer
    }

    /// Bytes: twice what an answer's source writes at a time.
    private static let leastCredit: Int128 = 64 << 10

    private var phase = Phase.opened
    private var since: UInt64
    /// Bytes that were moved and not judged yet.
    private var moved = 0
    /// Bytes ahead of the pace at the last judgement, in billionths.
    private var credit: Int128 = 0
    /// The instant of the last judgement; 0: there was none.
    private var judged: UInt64 = 0
    private let idle: UInt64

    /// - Parameter idle: how long libmicrohttpd lets this connection be silent between two requests.
    init(openedAt now: UInt64, idle: UInt64) {
        since = now
        self.idle = idle
    }

    mutating func headerReceived(now: UInt64, isBodyExpected: Bool) {
        phase = isBodyExpected ? .readingBody : .ours
        begin(now)
    }

    private mutating func begin(_ now: UInt64) {
        since = now
        (moved, credit, judged) = (0, 0, 0)
    }

    mutating func pieceReceived(_ count: Int) { moved += count }

    /// A long answer is on its way.
    mutating func answerBegan(now: UInt64) {
        phase = .readingAnswer
        begin(now)
    }

    /// The client has made room for so much more of it.
    mutating func pieceSent(_ count: Int) { moved += count }

    /// We stopped reading the body.
    mutating func paused(now: UInt64) {
        if case .readingBody = phase { phase = .paused(at: now) }
    }

    /// We read on.
    mutating func resumed(now: UInt64) {
        guard case .paused(let at) = phase else { return }
        phase = .readingBody
        since += now - at
        if judged > 0 { judged += now - at }
    }

    /// Nobody looked for so long: what the client sent meanwhile has not been read either.
    mutating func stalled(for time: UInt64, now: UInt64) {
        // A pause takes its whole length off when it ends: its beginning moves with the rest.
        if case .paused(let at) = phase { phase = .paused(at: min(at + time, now)) }
        since = min(since + time, now)
        if judged > 0 { judged = min(judged + time, now) }
    }

    mutating func requestReceived() { phase = .ours }

    mutating func requestEnded(now: UInt64) {
        phase = .kept
        since = now
    }

    mutating func fault(now: UInt64, _ limits: Limits) -> Fault? {
        let elapsed = now > since ? now - since : 0
        switch phase {
        case .opened: return elapsed > limits.header ? .header : nil
        case .kept: return elapsed > idle + limits.header ? .header : nil
        case .readingBody: return isSlow(now, limits) ? .body : nil
        case .readingAnswer: return isSlow(now, limits) ? .answer : nil
        case .paused, .ours: return nil
        }
    }

    /// Judges the time since the last judgement, by the limits in force now: others count from here on.
    private mutating func isSlow(_ now: UInt64, _ limits: Limits) -> Bool {
        let begin = since + limits.bodyGrace
        guard now > begin else { return false }
        let due = Int128(limits.bodyRate) * Int128(now - min(now, max(judged, begin)))
        // Whoever was fast may be silent for as long as anybody, and not for hours; but answers are counted in blocks.
        let most = max(Int128(idle) * Int128(limits.bodyRate), Self.leastCredit * 1_000_000_000)
        credit = min(credit + Int128(moved) * 1_000_000_000 - due, most)
        (moved, judged) = (0, now)
        return credit < 0
    }
}
