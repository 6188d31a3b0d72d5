// Owns the limits of a batch, which change while the process runs, and the memory that all batches share.

import Synchronization

/// The limits of a request with many events.
final class BatchBounds: Sendable {
    private let event: Atomic<Int>
    private let body: Atomic<Int>
    private let count: Atomic<Int>

    init(_ settings: HTTPSettings = HTTPSettings()) {
        event = Atomic(settings.maxEventBytes)
        body = Atomic(settings.maxBodyBytes)
        count = Atomic(settings.maxBatchEvents)
    }

    /// Most bytes of one event.
    var eventBytes: Int { event.load(ordering: .relaxed) }
    /// Most bytes of one body.
    var bodyBytes: Int { body.load(ordering: .relaxed) }
    /// Most events of one request.
    var events: Int { count.load(ordering: .relaxed) }

    /// Applies other settings; requests that have begun keep theirs.
    func update(_ settings: HTTPSettings) {
        event.store(settings.maxEventBytes, ordering: .relaxed)
        body.store(settings.maxBodyBytes, ordering: .relaxed)
        count.store(settings.maxBatchEvents, ordering: .relaxed)
    }
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
