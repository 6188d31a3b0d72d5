// Shares the read limits between the reader's thread and the configuration reload.

import Synchronization

/// The read limits behind one lock, and the largest batch.
///
/// The reader's thread asks and charges synchronously; nothing is allocated, and without a limit the clock is not read.
public final class ConsumeLimiter: Sendable {
    private struct State: ~Copyable {
        var batch: Credits
        var machine: ConsumeLimitMachine
    }

    private let state: Mutex<State>
    private let clock: @Sendable () -> UInt64

    /// - Parameters:
    ///   - limits: the read rates.
    ///   - batch: the largest batch.
    ///   - clock: monotonic nanoseconds.
    public init(_ limits: ConsumeLimits, batch: Credits, clock: @escaping @Sendable () -> UInt64) {
        self.clock = clock
        state = Mutex(State(batch: batch, machine: ConsumeLimitMachine(limits, now: clock())))
    }

    /// Partitions were assigned: the topic of each, by slot.
    public func assigned(topics: [String]) { state.withLock { $0.machine.assigned(topics: topics) } }

    /// What may be read from a slot now, where its credits allow `credits`; zero: nothing yet.
    public func allowance(slot: Int, within credits: Credits) -> Credits {
        state.withLock { state in
            var most = state.batch.least(credits)
            if state.machine.isLimited {
                most = most.least(state.machine.allowanceAsked(slot: slot, now: clock()))
            }
            return most
        }
    }

    /// A batch was read from a slot.
    public func spent(slot: Int, _ amount: Credits) {
        state.withLock { state in
            if state.machine.isLimited { state.machine.spent(slot: slot, amount, now: clock()) }
        }
    }

    /// Nanoseconds until the first slot that was refused since the last call can be read; `nil`: none was refused.
    public func opensIn() -> UInt64? {
        state.withLock { state in
            guard let opening = state.machine.openingAsked() else { return nil }
            let now = clock()
            return opening > now ? opening - now : 0
        }
    }

    /// Changes the limits; levels are kept.
    public func update(_ limits: ConsumeLimits, batch: Credits) {
        state.withLock { state in
            state.batch = batch
            state.machine.update(limits, now: clock())
        }
    }
}
