// Owns the time for which a batch has waited for one reason.

/// A wait of a batch, counted in ``EventProducer/waitingBatches`` while it lasts.
struct BatchWait {
    /// Monotonic nanoseconds; `nil`: the batch does not wait.
    private var since: UInt64?

    /// The reason to wait holds at `now`, monotonic nanoseconds; the first call begins the wait.
    /// - Returns: `false` once the wait has lasted for ``EventProducer/waitLimit``.
    mutating func continues(at now: UInt64, _ eventProducer: EventProducer) -> Bool {
        if since == nil { eventProducer.waitingBatches += 1 }
        let start = since ?? now
        since = start
        return .nanoseconds(now - min(now, start)) < eventProducer.waitLimit
    }

    mutating func end(_ eventProducer: EventProducer) {
        guard since != nil else { return }
        since = nil
        eventProducer.waitingBatches -= 1
    }
}
