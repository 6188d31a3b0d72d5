// Holds the credit accounts of the assigned partitions and of the whole pipeline behind one lock, for the reader's thread and the
// commit stage.

import Synchronization

/// The credit accounts of the partitions that are assigned now, one per slot, and the account of everything under way.
///
/// The reader's thread calls ``allowance(slot:generation:)`` and ``spent(slot:generation:_:)``; the ledger alone refunds. A partition's account
/// carries the generation of its assignment, so work of an older assignment neither spends from it nor refunds it. The account of the
/// whole knows no generations: it is charged for every batch that is read, and refunded when that batch has really left the pipeline. A
/// lane that the database holds up keeps the batches of an assignment that is over; without it the next assignment would read as
/// much again.
public final class CreditPool: Sendable {
    private struct Account: ~Copyable {
        var generation: UInt64
        var isOpen: Bool
        var credits: CreditMachine
    }

    private struct State: ~Copyable {
        // A dictionary of non-copyable values does not exist; slots are few, dense and replaced as a whole.
        var accounts: UniqueAccounts
        /// Everything under way, whatever its generation.
        var memory: CreditMachine
    }

    /// Minimal owner of non-copyable accounts in a row.
    private struct UniqueAccounts: ~Copyable {
        private let memory: UnsafeMutableBufferPointer<Account>
        var count: Int { memory.count }

        init(count: Int, _ make: (Int) -> Account) {
            memory = .allocate(capacity: count)
            for index in 0..<count { memory.initializeElement(at: index, to: make(index)) }
        }

        deinit {
            memory.deinitialize()
            memory.deallocate()
        }

        /// The account of a slot if it belongs to the assignment `generation`.
        mutating func withAccount<R>(_ slot: Int, _ generation: UInt64, _ body: (inout Account) -> R) -> R? {
            guard memory.indices.contains(slot), memory[slot].generation == generation else { return nil }
            return body(&memory[slot])
        }

        mutating func withAccount<R>(_ slot: Int, _ body: (inout Account) -> R) -> R? {
            guard memory.indices.contains(slot) else { return nil }
            return body(&memory[slot])
        }
    }

    /// Bytes a batch is charged for besides those of its records.
    public let batchOverhead: Int
    /// Bytes a record is charged for besides its own.
    public let recordOverhead: Int
    private let state: Mutex<State>

    /// A pool without accounts. Until ``resize(total:)`` the whole is as good as unbounded.
    public init(batchOverhead: Int = 0, recordOverhead: Int = 0) {
        self.batchOverhead = batchOverhead
        self.recordOverhead = recordOverhead
        state = Mutex(
            State(
                accounts: UniqueAccounts(count: 0) { _ in fatalError("no account in an empty pool") },
                memory: CreditMachine(
                    total: Credits(records: .max / 2, bytes: .max / 2), low: Credits(records: 1, bytes: 1))))
    }

    /// What a batch costs: the only place that says so.
    public func charge(records: Int, bytes: Int) -> Credits {
        Credits(records: records, bytes: bytes + batchOverhead + records * recordOverhead)
    }

    /// Says how much may be under way over all partitions and assignments. Answers whether the reader must be woken.
    public func resize(total: Credits) -> Bool {
        state.withLock { $0.memory.resized(to: total, low: $0.memory.low) == .wakeReader }
    }

    /// Replaces all accounts: `slots` accounts of `share` each, all for the assignment `generation`. What is under way stays counted in
    /// the whole, which from now on opens again when one partition's low watermark is free in it: with more, work that is stuck
    /// could keep it closed although there is room to go on.
    ///
    /// - Parameter isOpen: whether reading may begin at once.
    public func reset(slots: Int, generation: UInt64, share: Credits, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            state.accounts = UniqueAccounts(count: slots) { _ in
                Account(generation: generation, isOpen: isOpen, credits: CreditMachine(total: share, lowWatermark: lowWatermark))
            }
            // The reader looks at its partitions by itself when they are assigned.
            _ = state.memory.resized(to: state.memory.total, low: CreditMachine.watermark(lowWatermark, of: share))
        }
    }

    /// Gives one slot a fresh account for a newer assignment, after its partition was claimed again.
    public func renew(slot: Int, generation: UInt64, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            _ = state.accounts.withAccount(slot) { account in
                let total = account.credits.total
                account = Account(
                    generation: generation, isOpen: isOpen, credits: CreditMachine(total: total, lowWatermark: lowWatermark))
            }
        }
    }

    /// Gives the whole and every account another size; what is under way stays counted, and where it is more than that, the account is
    /// in debt until it has come back. Answers whether a reader waits for what is free now and must be woken.
    public func resize(total: Credits, share: Credits, lowWatermark: Double) -> Bool {
        state.withLock { state in
            let whole = state.memory.resized(to: total, low: CreditMachine.watermark(lowWatermark, of: share))
            var isReaderWaiting = whole == .wakeReader
            for index in 0..<state.accounts.count {
                _ = state.accounts.withAccount(index) { account in
                    let action = account.credits.resized(to: share, lowWatermark: lowWatermark)
                    if action == .wakeReader, account.isOpen { isReaderWaiting = true }
                }
            }
            return isReaderWaiting
        }
    }

    /// Shuts one slot's gate, or all gates: nothing more is read, what is under way stays counted.
    public func close(slot: Int? = nil) {
        state.withLock { state in
            for index in slot.map({ $0..<$0 + 1 }) ?? 0..<state.accounts.count {
                _ = state.accounts.withAccount(index) { $0.isOpen = false }
            }
        }
    }

    /// Opens one slot's gate, where it still has an account under this generation. The reader must be woken by whoever opens it.
    public func open(slot: Int, generation: UInt64) {
        state.withLock { state in _ = state.accounts.withAccount(slot, generation) { $0.isOpen = true } }
    }

    /// What the reader may read from a slot now; zero while its gate is shut, the generation is not the current one, or nothing is free in
    /// its account or in the whole.
    public func allowance(slot: Int, generation: UInt64) -> Credits {
        state.withLock { state in
            let own = state.accounts.withAccount(slot, generation) { $0.isOpen ? $0.credits.allowanceAsked() : .zero } ?? .zero
            // Asked only by a reader that its own account lets through: who is refused here is woken from here.
            guard own.isPositive else { return .zero }
            return own.least(state.memory.allowanceAsked())
        }
    }

    /// The reader took a batch from a slot.
    public func spent(slot: Int, generation: UInt64, _ amount: Credits) {
        state.withLock { state in
            state.memory.spent(amount)
            _ = state.accounts.withAccount(slot, generation) { $0.credits.spent(amount) }
        }
    }

    /// Batches have left the pipeline: `amount` goes back to a slot's account where the generation is the current one, `leaving` to the
    /// whole. Answers whether the reader waits for it and must be woken.
    public func returned(slot: Int, generation: UInt64, _ amount: Credits, leaving: Credits) -> Bool {
        state.withLock { state in
            let isOwn =
                state.accounts.withAccount(slot, generation) { $0.credits.returned(amount) == .wakeReader && $0.isOpen } ?? false
            let isWhole = state.memory.returned(leaving) == .wakeReader
            return isOwn || isWhole
        }
    }

    /// A batch of a slot has left the pipeline. Answers whether the reader waits for it and must be woken.
    public func returned(slot: Int, generation: UInt64, _ amount: Credits) -> Bool {
        returned(slot: slot, generation: generation, amount, leaving: amount)
    }

    /// Batches have left the pipeline that no present account was charged for. Answers whether the reader must be woken.
    public func left(_ leaving: Credits) -> Bool {
        state.withLock { $0.memory.returned(leaving) == .wakeReader }
    }

    /// Free and total credits of a slot; `nil` where it has no account under this generation.
    public func level(slot: Int, generation: UInt64) -> (free: Credits, total: Credits)? {
        state.withLock { state in
            state.accounts.withAccount(slot, generation) { ($0.credits.free, $0.credits.total) }
        }
    }

    /// Sum over all accounts: free and total.
    public func level() -> (free: Credits, total: Credits) {
        state.withLock { state in
            var free = Credits.zero
            var total = Credits.zero
            for index in 0..<state.accounts.count {
                _ = state.accounts.withAccount(index) {
                    free += $0.credits.free
                    total += $0.credits.total
                }
            }
            return (free, total)
        }
    }

    /// Everything under way, and what may be, over all partitions and assignments.
    public var memory: (outstanding: Credits, total: Credits) {
        state.withLock { ($0.memory.outstanding, $0.memory.total) }
    }

    /// Whether the whole had room for a reader since this was asked last; for one caller, which asks at its own pace.
    public func roomOfWholeRead() -> Bool { state.withLock { $0.memory.roomRead() } }

    /// The room a slot's reader has: the lesser of what is free in its account and in the whole, measured by its own share, and
    /// whether its account had room since this was asked last. `nil` where it has no account under this generation. For one caller.
    public func roomRead(slot: Int, generation: UInt64) -> (free: Credits, total: Credits, hadRoom: Bool)? {
        state.withLock { state in
            let whole = state.memory.free
            return state.accounts.withAccount(slot, generation) {
                ($0.credits.free.least(whole), $0.credits.total, $0.credits.roomRead())
            }
        }
    }
}
