// Owns what one batch may cost: bounds that change while the process runs, and the memory all results share.

import Synchronization

/// The bounds on a request with many events.
final class BatchBounds: Sendable {
    private let event: Atomic<Int>
    private let body: Atomic<Int>
    private let count: Atomic<Int>

    init(_ settings: HTTPSettings = HTTPSettings()) {
        event = Atomic(settings.maxEventBytes)
        body = Atomic(settings.maxBodyBytes)
        count = Atomic(settings.maxBatchEvents)
    }

    /// Bytes of one event.
    var eventBytes: Int { event.load(ordering: .relaxed) }
    /// Bytes of one body.
    var bodyBytes: Int { body.load(ordering: .relaxed) }
    /// Events of one request.
    var events: Int { count.load(ordering: .relaxed) }

    /// New settings are in force; requests that have begun keep theirs.
    func adopt(_ settings: HTTPSettings) {
        event.store(settings.maxEventBytes, ordering: .relaxed)
        body.store(settings.maxBodyBytes, ordering: .relaxed)
        count.store(settings.maxBatchEvents, ordering: .relaxed)
    }
}

/// The memory that all batches may take together, in bytes: their results, and the events that pieces cut in two.
final class ResultBudget: Sendable {
    private let left: Atomic<Int>

    init(bytes: Int = 64 << 20) { left = Atomic(bytes) }

    /// - Returns: whether there was so much.
    func take(_ bytes: Int) -> Bool {
        if left.subtract(bytes, ordering: .relaxed).newValue >= 0 { return true }
        give(bytes)
        return false
    }

    func give(_ bytes: Int) { left.add(bytes, ordering: .relaxed) }

    /// Bytes not taken.
    var free: Int { left.load(ordering: .relaxed) }
}
