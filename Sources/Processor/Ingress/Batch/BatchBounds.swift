// Owns the limits of a batch, which change while the process runs, and the memory that all batches share.

import Synchronization

/// The limits of requests to `POST /send`.
final class BatchBounds: Sendable {
    /// The limits at one moment.
    struct Values: Sendable {
        /// Most bytes of one event.
        let eventBytes: Int
        /// Most bytes of one body.
        let bodyBytes: Int
        /// Most events of one request.
        let events: Int

        init(_ settings: HTTPSettings) {
            (eventBytes, bodyBytes, events) = (settings.maxEventBytes, settings.maxBodyBytes, settings.maxBatchEvents)
        }
    }

    private let values: Mutex<Values>

    init(_ settings: HTTPSettings = HTTPSettings()) { values = Mutex(Values(settings)) }

    var current: Values { values.withLock { $0 } }

    /// Applies other settings; requests that have begun keep theirs.
    func update(_ settings: HTTPSettings) { values.withLock { $0 = Values(settings) } }
}

/// The memory that all batches may take together, in bytes: for their results, and for events that two pieces share.
final class ResultBudget: Sendable {
    private let left: Atomic<Int>

    init(bytes: Int = 64 << 20) { left = Atomic(bytes) }

    /// - Returns: `false` if fewer bytes are free; nothing is then taken.
    func take(_ bytes: Int) -> Bool {
        if left.subtract(bytes, ordering: .relaxed).newValue >= 0 { return true }
        give(bytes)
        return false
    }

    func give(_ bytes: Int) { left.add(bytes, ordering: .relaxed) }

    /// Bytes not taken.
    var free: Int { left.load(ordering: .relaxed) }
}
