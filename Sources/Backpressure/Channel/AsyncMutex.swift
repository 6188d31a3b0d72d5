// A mutex that tasks await: held across suspension points, unlike Synchronization's.

import Synchronization

/// A lock that one task holds at a time. Waiting tasks get it first in, first out; waiting is cancel-safe.
public final class AsyncMutex: Sendable {
    private struct State {
        var isLocked = false
        var nextID: UInt64 = 0
        var waiting: [(id: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
    }

    private let state = Mutex(State())

    /// An unlocked mutex.
    public init() {}

    /// Waits for the lock and takes it. The caller must ``unlock()``.
    /// - Throws: `CancellationError`; the lock was not taken.
    public func lock() async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let answer: Result<Void, any Error>? = state.withLock { state in
                    // A cancellation that came before the task is stored finds none to resume: so it is checked here, under the lock
                    // that the handler takes.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    guard state.isLocked else {
                        state.isLocked = true
                        return .success(())
                    }
                    state.waiting.append((id, continuation))
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
                state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0).continuation }
            }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Hands the lock to the task that has waited longest; without one the mutex is unlocked.
    public func unlock() {
        let next = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            precondition(state.isLocked, "unlock() of a mutex that is not locked")
            if state.waiting.isEmpty {
                state.isLocked = false
                return nil
            }
            return state.waiting.removeFirst().continuation
        }
        next?.resume()
    }
}
