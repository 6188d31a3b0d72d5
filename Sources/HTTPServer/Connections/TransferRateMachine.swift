// Decides when a client is too slow: with a header, with a body, or with reading a long response.

/// The deadlines and the minimum transfer rate of one connection. Pure; times in monotonic nanoseconds.
///
/// libmicrohttpd does not report the first byte of a header. A new connection has ``Limits/header`` from its opening on. A kept one has
/// the idle timeout and that: libmicrohttpd closes a silent connection at the idle timeout, so one that is still open began a header before.
///
/// A body, and the reading of a long response, must keep the minimum rate on average, after a grace. The surplus over it is kept in bytes:
/// ```
/// surplus(t) = min(cap, surplus(t₀) + bytes moved in t₀ … t − bodyRate · (t − t₀))     cap = max(bodyRate · idle timeout, 64 KiB)
/// ```
/// The client is too slow when the surplus falls below 0. The cap bounds how long a client that was fast may be silent.
struct TransferRateMachine: ~Copyable {
    struct Limits: Equatable {
        /// Time for a whole header, with the TLS handshake on a new connection.
        var header: UInt64
        /// Time before the minimum rate applies.
        var bodyGrace: UInt64
        /// The minimum rate in bytes a second; 0: none.
        var bodyRate: Int
    }

    /// What the client is too slow with.
    enum Violation: Equatable {
        case header, body, response
        /// Its refusal has been sent, and it has had the time to read it.
        case refusal
    }

    private enum Phase {
        /// No request has come yet.
        case opened
        /// A response has been sent, and the next request has not come.
        case kept
        case readingBody
        /// The server does not read the body for now: this time does not count.
        case paused(at: UInt64)
        /// The request is whole: the server works, and nothing is expected of the client.
        case handling
        /// The client reads a long response.
        case sendingResponse
        /// The request was refused inside its body, which is dropped while the client reads the response.
        case refused
    }

    /// The least cap of the surplus in bytes: twice what the source of a response writes at a time.
    private static let leastCap: Int128 = 64 << 10

    /// Time that a client has to read a refusal before its connection is closed.
    static let refusalTime: UInt64 = 2_000_000_000

    private var phase = Phase.opened
    private var since: UInt64
    /// Bytes moved since the last check.
    private var bytes = 0
    /// In billionths of a byte.
    private var surplus: Int128 = 0
    /// The instant of the last check; 0: there was none.
    private var checkedAt: UInt64 = 0
    private let idle: UInt64

    /// - Parameter idle: libmicrohttpd's idle timeout of this connection.
    init(openedAt now: UInt64, idle: UInt64) {
        since = now
        self.idle = idle
    }

    mutating func headerReceived(now: UInt64, isBodyExpected: Bool) {
        phase = isBodyExpected ? .readingBody : .handling
        restart(now)
    }

    private mutating func restart(_ now: UInt64) {
        since = now
        (bytes, surplus, checkedAt) = (0, 0, 0)
    }

    /// A long response is being sent.
    mutating func responseStarted(now: UInt64) {
        phase = .sendingResponse
        restart(now)
    }

    /// Bytes of the body were received, or the client has read on, so that more of the response was written. Bytes of a body that will be
    /// offered again count then.
    mutating func moved(_ count: Int) { bytes += count }

    /// The server stopped reading the body.
    mutating func paused(now: UInt64) {
        if case .readingBody = phase { phase = .paused(at: now) }
    }

    /// The server reads the body again.
    mutating func resumed(now: UInt64) {
        guard case .paused(let at) = phase else { return }
        phase = .readingBody
        since += now - at
        if checkedAt > 0 { checkedAt += now - at }
    }

    /// The loop stood still for `time`, so what clients sent meanwhile has not been read: this time does not count.
    mutating func loopDelayed(by time: UInt64, now: UInt64) {
        // A pause is subtracted as a whole when it ends, so its beginning moves as well.
        if case .paused(let at) = phase { phase = .paused(at: min(at + time, now)) }
        since = min(since + time, now)
        if checkedAt > 0 { checkedAt = min(checkedAt + time, now) }
    }

    mutating func requestReceived() { phase = .handling }

    /// A refusal was sent before the body's end.
    mutating func requestRefused(now: UInt64) {
        phase = .refused
        restart(now)
    }

    mutating func requestEnded(now: UInt64) {
        phase = .kept
        since = now
    }

    /// Checks the client. The limits apply from the last check on, so a changed rate does not count for the time before.
    mutating func violation(now: UInt64, _ limits: Limits) -> Violation? {
        let elapsed = now > since ? now - since : 0
        switch phase {
        case .opened: return elapsed > limits.header ? .header : nil
        case .kept: return elapsed > idle + limits.header ? .header : nil
        case .readingBody: return isSlow(now, limits) ? .body : nil
        case .sendingResponse: return isSlow(now, limits) ? .response : nil
        case .refused: return elapsed > Self.refusalTime ? .refusal : nil
        case .paused, .handling: return nil
        }
    }

    private mutating func isSlow(_ now: UInt64, _ limits: Limits) -> Bool {
        let begin = since + limits.bodyGrace
        guard now > begin else { return false }
        let due = Int128(limits.bodyRate) * Int128(now - min(now, max(checkedAt, begin)))
        let cap = max(Int128(idle) * Int128(limits.bodyRate), Self.leastCap * 1_000_000_000)
        surplus = min(surplus + Int128(bytes) * 1_000_000_000 - due, cap)
        (bytes, checkedAt) = (0, now)
        return surplus < 0
    }
}
