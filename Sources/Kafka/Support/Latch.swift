// Owns a door that opens once and for all, and those who wait before it with a deadline.

internal import Dispatch
internal import Synchronization

/// Opens once. Waiting never blocks a thread.
final class Latch: Sendable {
    private struct State {
        var isOpen = false
        var next = 0
        var waiters: [Int: CheckedContinuation<Bool, Never>] = [:]
    }
    private let state = Mutex(State())

    /// Opens the door and lets everybody through.
    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: true) }
    }

    /// Suspends until the door is open; false where `limit` passed first.
    func wait(within limit: Duration) async -> Bool {
        await withCheckedContinuation { continuation in
            let ticket: Int? = state.withLock { state in
                if state.isOpen { return nil }
                state.next += 1
                state.waiters[state.next] = continuation
                return state.next
            }
            guard let ticket else { return continuation.resume(returning: true) }
            DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(limit.nanoseconds)) { [self] in
                state.withLock { $0.waiters.removeValue(forKey: ticket) }?.resume(returning: false)
            }
        }
    }
}
