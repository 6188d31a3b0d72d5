// The clock of a schedule, which only the driver advances.

import Pipeline

/// The pipeline's clock in a schedule. Sleeping tasks are continuations in its list; later events of the world are actions there.
final class ManualClock: PipelineClock, @unchecked Sendable {
    // Licence for @unchecked: used on the driver's thread only; sleeping and waking check it through the executor.

    private enum Wake {
        case sleeper(UnsafeContinuation<Void, any Error>)
        case action(() -> Void)
    }

    private let executor: SeededExecutor
    private var waiting: [(id: UInt64, due: UInt64, wake: Wake)] = []
    private var nextID: UInt64 = 0
    private var jitter: SimulationRandom
    private var order: SimulationRandom

    private(set) var now: UInt64 = 1_000 * millisecond

    init(seed: UInt64, executor: SeededExecutor) {
        self.executor = executor
        jitter = SimulationRandom(seed: seed, stream: 11)
        order = SimulationRandom(seed: seed, stream: 12)
    }

    var wallMilliseconds: Int64 { 1_700_000_000_000 + Int64(now / millisecond) }
    func random() -> Double { jitter.unit() }

    /// When the next task or action is due.
    var nextDue: UInt64? { waiting.lazy.map(\.due).min() }
    /// Tasks that sleep.
    var sleepers: Int {
        waiting.count { entry in if case .sleeper = entry.wake { true } else { false } }
    }

    func sleep(until deadline: UInt64) async throws {
        guard deadline > now else { return try Task.checkCancellation() }
        nextID += 1
        let id = nextID
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                executor.requireDriver()
                // A cancellation before this line found no continuation to resume.
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiting.append((id, deadline, .sleeper(continuation)))
                }
            }
        } onCancel: {
            executor.requireDriver()
            guard let index = waiting.firstIndex(where: { $0.id == id }), case .sleeper(let continuation) = waiting[index].wake
            else { return }
            waiting.remove(at: index)
            continuation.resume(throwing: CancellationError())
        }
    }

    /// Runs an action after `wait` nanoseconds.
    func after(_ wait: UInt64, _ action: @escaping () -> Void) {
        nextID += 1
        waiting.append((nextID, now + wait, .action(action)))
    }

    /// Advances the time; tasks and actions that are due run in random order.
    func advance(to time: UInt64) {
        now = Swift.max(now, time)
        var due: [Wake] = []
        waiting.removeAll { entry in
            guard entry.due <= now else { return false }
            due.append(entry.wake)
            return true
        }
        order.shuffle(&due)
        for wake in due {
            switch wake {
            case .sleeper(let continuation): continuation.resume()
            case .action(let action): action()
            }
        }
    }
}
