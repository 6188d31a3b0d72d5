// Owns the queue of events from the poll thread to the one task that awaits them.

internal import Synchronization

/// A queue with one producing thread and one awaiting task. Its records are bounded by the ``ReadLimit``; all other events are
/// rare.
final class Mailbox: Sendable {
    private struct State {
        // A taken event is replaced by nil, so that its batch is freed when its user releases it.
        var events: [ConsumerEvent?] = []
        var first = 0
        var waiter: CheckedContinuation<ConsumerEvent?, Never>?
        var isClosed = false

        mutating func take() -> ConsumerEvent? {
            guard first < events.count else { return nil }
            let event = events[first].take()
            first += 1
            if first == events.count {
                events.removeAll(keepingCapacity: true)
                first = 0
            } else if first >= 1024, first * 2 > events.count {
                events.removeFirst(first)
                first = 0
            }
            return event
        }
    }
    private let state = Mutex(State())

    /// Appends an event. After ``close()`` events are dropped.
    func push(_ event: ConsumerEvent) {
        let waiter: CheckedContinuation<ConsumerEvent?, Never>? = state.withLock { state in
            if state.isClosed { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            state.events.append(event)
            return nil
        }
        waiter?.resume(returning: event)
    }

    /// Ends the sequence; events that are in the queue can still be taken.
    func close() {
        let waiter = state.withLock { state in
            state.isClosed = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: nil)
    }

    /// The next event; `nil` at the end, or where the task was cancelled while it waited.
    func next() async -> ConsumerEvent? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now: ConsumerEvent?? = state.withLock { state in
                    if let event = state.take() { return .some(event) }
                    // A cancellation that came before the continuation is stored finds no waiter to resume: so it is checked
                    // here, under the lock that the handler takes.
                    if state.isClosed || Task.isCancelled { return .some(nil) }
                    precondition(state.waiter == nil, "next() has one caller at a time")
                    state.waiter = continuation
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume(returning: nil)
        }
    }
}
