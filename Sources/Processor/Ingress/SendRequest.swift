// Owns what is known of one request to POST /send from its header to its end.

import Admission
import HTTPServer
import Kafka

/// One request to `POST /send`: its client and the bounds that hold for it, whatever is reloaded meanwhile, and the bytes that its client was
/// charged for.
final class SendRequest: @unchecked Sendable {
    // Licence for @unchecked: used on the HTTP server's one loop thread alone (the contracts of HTTPHandler and HTTPBodyReader).

    let bounds: BatchBounds.Values
    /// The headers of its records.
    let headers: [ProducerHeader]
    /// The body was found to be a single event, which has not been handled yet.
    var awaitsEvent = false
    private let limits: IngressLimits?
    private let client: RateLimitKey
    private var chargedBytes = 0
    private var mark = ByteOrderMark()
    /// What had arrived of the mark before the piece that was looked at last, with which the body that is read or collected begins.
    private(set) var markBefore = ByteOrderMark()

    /// - Parameter limits: `nil`: none.
    init(
        bounds: BatchBounds.Values = BatchBounds().current, limits: IngressLimits?, client: RateLimitKey,
        headers: [ProducerHeader] = []
    ) {
        self.bounds = bounds
        self.headers = headers
        self.limits = limits
        self.client = client
    }

    /// Charges a request whose header has arrived. If its first event or its length would already exceed a limit, it is refused before its
    /// body is read; events and bytes are charged as they arrive.
    /// - Parameter length: the Content-Length; `nil`: it is not known, or the body is a batch. That one's length is not checked: a quota may
    ///   be refilled while the body arrives.
    func admit(length: Int?) -> ProblemDetails? {
        // A longer body is not waited for when it is refused.
        let lost = length.map { $0 <= 64 << 10 ? $0 : 0 } ?? 0
        return limits?.ask(
            client, RateLimitCost(requests: 1), expecting: RateLimitCost(events: 1, bytes: length ?? 0), lost: lost)
    }

    /// Charges further events of the request, `bytes` together, all or none; without an event bytes that belong to none, such as white
    /// space. The wait in a refusal counts the request of another attempt. Not called after a 429.
    /// - Parameter lost: bytes that are charged at the end of the request if these are refused.
    func charge(events: Int, bytes: Int, lost: Int = 0) -> ProblemDetails? {
        let cost = RateLimitCost(events: events, bytes: bytes)
        if let refusal = limits?.ask(client, cost, again: RateLimitCost(requests: 1), lost: lost) { return refusal }
        chargedBytes += bytes
        return nil
    }

    /// Charges events together if all of them pass.
    /// - Returns: `false`: nothing was charged; charge each event.
    func chargeTogether(events: Int, bytes: Int) -> Bool {
        guard limits?.limiter.admitTogether(client, RateLimitCost(events: events, bytes: bytes), pieces: events) ?? true else {
            return false
        }
        chargedBytes += bytes
        return true
    }

    /// The answer to a request with these events after the end of this one; charges nothing.
    /// - Parameter lost: bytes that will be charged at the end of this one.
    func preview(events: Int, bytes: Int, lost: Int) -> ProblemDetails? {
        limits?.ask(client, .none, expecting: RateLimitCost(requests: 1, events: events, bytes: bytes), lost: lost)
    }

    /// The request is over: charges what came off the wire and was not charged yet, because it was blank, refused or dropped.
    func ended(wireBytes: Int) { limits?.limiter.used(client, bytes: wireBytes - chargedBytes) }

    // MARK: A body whose format is not known yet

    /// The first byte of a body that tells what it holds; `nil`: it has not arrived yet.
    func firstByte(of piece: UnsafeRawBufferPointer) -> UInt8? {
        markBefore = mark
        guard let start = mark.end(in: piece, from: 0) else { return piece.first }
        return piece[start...].first { !BoundaryMachine.isSpace($0) }
    }

    /// The event in a whole body, without a byte order mark; nothing if the body begins with a part of one.
    func event(in body: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var mark = markBefore
        let start = mark.end(in: body, from: 0)
        return UnsafeRawBufferPointer(rebasing: start.map { body[$0...] } ?? body[..<0])
    }
}
