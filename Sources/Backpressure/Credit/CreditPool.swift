// Holds the credit accounts of the assigned partitions and of the whole pipeline behind one lock, for the reader's thread and the
// commit stage.

import Synchronization

/// The credit accounts of the assigned partitions, one per slot, and one of the whole pipeline.
///
/// The reader's thread calls ``allowance(slot:generation:)`` and ``spent(slot:generation:_:)``; only the ledger returns credits. A
/// partition's account carries the generation of its assignment, so work of an older assignment neither spends from it nor returns to
/// it. The account of the whole pipeline knows no generations: it is charged for every batch that is read, until that batch has really
/// left the pipeline. A lane that waits for the database keeps batches of an assignment that is over; without this account the next
/// assignment would read as much again.
public final class CreditPool: Sendable {
    /// In a box, because arrays hold no non-copyable values.
    private final class Account {
        let generation: UInt64
        var isOpen: Bool
        var credits: CreditMachine

        init(generation: UInt64, isOpen: Bool, credits: consuming CreditMachine) {
            self.generation = generation
            self.isOpen = isOpen
            self.credits = credits
        }
    }

    private struct State: ~Copyable {
        /// By slot.
        var accounts: [Account] = []
        /// Of the whole pipeline, over all generations.
        var whole: CreditMachine

        /// The account of a slot if it belongs to the assignment `generation`.
        func account(_ slot: Int, _ generation: UInt64) -> Account? {
            guard accounts.indices.contains(slot), accounts[slot].generation == generation else { return nil }
            return accounts[slot]
        }
    }

    /// Bytes a batch is charged for besides those of its records.
    public let batchOverhead: Int
    /// Bytes a record is charged for besides its own.
    public let recordOverhead: Int
    private let state: Mutex<State>

    /// A pool without accounts of partitions. Until ``resize(total:)`` the whole pipeline's is unbounded.
    public init(batchOverhead: Int = 0, recordOverhead: Int = 0) {
        self.batchOverhead = batchOverhead
        self.recordOverhead = recordOverhead
        state = Mutex(
            State(whole: CreditMachine(total: Credits(records: .max / 2, bytes: .max / 2), low: Credits(records: 1, bytes: 1))))
    }

    /// The cost of a batch: the only place that computes it.
    public func charge(records: Int, bytes: Int) -> Credits {
        Credits(records: records, bytes: bytes + batchOverhead + records * recordOverhead)
    }

    /// Sets how much may be under way over all partitions and assignments. Returns whether the reader must be woken.
    public func resize(total: Credits) -> Bool {
        state.withLock { $0.whole.resized(to: total, low: $0.whole.low) == .wakeReader }
    }

    /// Replaces the accounts of partitions: `slots` accounts of `share` each, all for the assignment `generation`. What is under way stays
    /// counted in the account of the whole pipeline. That one opens again as soon as one partition's low watermark is free in it: with a
    /// larger watermark, batches that wait for the database could keep it closed although credits are free.
    ///
    /// - Parameter isOpen: whether reading may begin at once.
    public func reset(slots: Int, generation: UInt64, share: Credits, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            state.accounts = (0..<slots).map { _ in
                Account(generation: generation, isOpen: isOpen, credits: CreditMachine(total: share, lowWatermark: lowWatermark))
            }
            // The reader visits its partitions when they are assigned, without being woken.
            _ = state.whole.resized(to: state.whole.total, low: CreditMachine.watermark(lowWatermark, of: share))
        }
    }

    /// Replaces the account of one slot for a newer generation, after its partition was claimed again.
    public func renew(slot: Int, generation: UInt64, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            guard state.accounts.indices.contains(slot) else { return }
            let total = state.accounts[slot].credits.total
            state.accounts[slot] = Account(
                generation: generation, isOpen: isOpen, credits: CreditMachine(total: total, lowWatermark: lowWatermark))
        }
    }

    /// Changes the size of all accounts. What is under way stays counted; an account of which more is under way than its new size is in
    /// debt until that has returned. Returns whether the reader must be woken.
    public func resize(total: Credits, share: Credits, lowWatermark: Double) -> Bool {
        state.withLock { state in
            let low = CreditMachine.watermark(lowWatermark, of: share)
            var isReaderWaiting = state.whole.resized(to: total, low: low) == .wakeReader
            for account in state.accounts {
                if account.credits.resized(to: share, low: low) == .wakeReader, account.isOpen { isReaderWaiting = true }
            }
            return isReaderWaiting
        }
    }

    /// Closes one slot's account, or all: nothing more is read, what is under way stays counted.
    public func close(slot: Int? = nil) {
        state.withLock { state in
            for (index, account) in state.accounts.enumerated() where slot == nil || slot == index { account.isOpen = false }
        }
    }

    /// Opens one slot's account, where it still belongs to this generation. The caller must wake the reader.
    public func open(slot: Int, generation: UInt64) {
        state.withLock { $0.account(slot, generation)?.isOpen = true }
    }

    /// What the reader may read from a slot now; zero while its account is closed, the generation is not the current one, or nothing is
    /// free in its account or in that of the whole pipeline.
    public func allowance(slot: Int, generation: UInt64) -> Credits {
        state.withLock { state in
            guard let account = state.account(slot, generation), account.isOpen else { return .zero }
            let own = account.credits.allowanceAsked()
            // Asked only where the partition's account allows something: an account that refuses must also wake the reader.
            guard own.isPositive else { return .zero }
            return own.least(state.whole.allowanceAsked())
        }
    }

    /// The reader took a batch from a slot.
    public func spent(slot: Int, generation: UInt64, _ amount: Credits) {
        state.withLock { state in
            state.whole.spent(amount)
            state.account(slot, generation)?.credits.spent(amount)
        }
    }

    /// Batches have left the pipeline: `amount` returns to a slot's account where the generation is the current one, `leaving` to that of
    /// the whole pipeline. Returns whether the reader must be woken.
    public func returned(slot: Int, generation: UInt64, _ amount: Credits, leaving: Credits) -> Bool {
        state.withLock { state in
            let account = state.account(slot, generation)
            let isOwn = account?.credits.returned(amount) == .wakeReader && account?.isOpen == true
            let isWhole = state.whole.returned(leaving) == .wakeReader
            return isOwn || isWhole
        }
    }

    /// Batches of an older generation have left the pipeline. Returns whether the reader must be woken.
    public func left(_ leaving: Credits) -> Bool {
        state.withLock { $0.whole.returned(leaving) == .wakeReader }
    }

    /// Free and total credits of a slot; `nil` where it has no account under this generation.
    public func level(slot: Int, generation: UInt64) -> (free: Credits, total: Credits)? {
        state.withLock { state in
            state.account(slot, generation).map { ($0.credits.free, $0.credits.total) }
        }
    }

    /// Free and total credits, summed over the accounts of partitions.
    public func level() -> (free: Credits, total: Credits) {
        state.withLock { state in
            var free = Credits.zero
            var total = Credits.zero
            for account in state.accounts {
                free += account.credits.free
                total += account.credits.total
            }
            return (free, total)
        }
    }

    /// The number of accounts of partitions.
    public var slots: Int { state.withLock { $0.accounts.count } }

    /// Credits under way, and all there are, over all partitions and assignments.
    public var memory: (outstanding: Credits, total: Credits) {
        state.withLock { ($0.whole.outstanding, $0.whole.total) }
    }

    /// Samples the account of the whole pipeline. Returns whether its low watermark was free at some moment since the last sample. For
    /// one caller.
    public func sampleTotal() -> Bool { state.withLock { $0.whole.sampled() } }

    /// Samples a slot's account: the lesser of what is free in it and in that of the whole pipeline, its own total, and whether its low
    /// watermark was free at some moment since the last sample. `nil` where it does not belong to this generation. For one caller.
    public func sample(slot: Int, generation: UInt64) -> (free: Credits, total: Credits, wasAvailable: Bool)? {
        state.withLock { state in
            let free = state.whole.free
            return state.account(slot, generation).map { ($0.credits.free.least(free), $0.credits.total, $0.credits.sampled()) }
        }
    }
}
