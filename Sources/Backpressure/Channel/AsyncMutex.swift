// Lets one task at a time do something that takes a while.

import Synchronization

/// A turn that one task holds at a time; the others wait for it in the order they came, and may be cancelled while they do.
public final class AsyncMutex: Sendable {
    private struct State {
        var isTaken = false
        var nextID: UInt64 = 0
        var waiting: [(id: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
        var cancelledEarly: Set<UInt64> = []
    }

    private let state = Mutex(State())

    /// A turn nobody holds.
    public init() {}

    /// Waits for the turn. Whoever has it must ``give()`` it back.
    /// - Throws: `CancellationError`; the turn was not taken.
    public func take() async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        defer { state.withLock { _ = $0.cancelledEarly.remove(id) } }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let answer: Result<Void, any Error>? = state.withLock { state in
                    if state.cancelledEarly.contains(id) { return .failure(CancellationError()) }
                    guard state.isTaken else {
                        state.isTaken = true
                        return .success(())
                    }
                    state.waiting.append((id, continuation))
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
                if let index = state.waiting.firstIndex(where: { $0.id == id }) {
                    return state.waiting.remove(at: index).continuation
                }
                state.cancelledEarly.insert(id)
                return nil
            }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Gives the turn to the one that has waited longest, or to whoever comes next.
    public func give() {
        let next = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            precondition(state.isTaken, "the turn is given back by whoever took it")
            if state.waiting.isEmpty {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst().continuation
        }
        next?.resume()
    }
}
