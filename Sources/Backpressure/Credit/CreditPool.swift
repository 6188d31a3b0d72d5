// Holds the credit accounts of the assigned partitions behind one lock, for the reader's thread and the commit stage.

import Synchronization

/// The credit accounts of the partitions that are assigned now, one per slot.
///
/// The reader's thread calls ``allowance(slot:stamp:)`` and ``spent(slot:stamp:_:)``; the ledger alone calls
/// ``returned(slot:stamp:_:)``. Each account carries the stamp of the assignment it belongs to, so work of an older assignment
/// neither spends nor refunds anything.
public final class CreditPool: Sendable {
    private struct Account: ~Copyable {
        var stamp: UInt64
        var isOpen: Bool
        var credits: CreditMachine
    }

    private struct State: ~Copyable {
        // A dictionary of non-copyable values does not exist; slots are few, dense and replaced as a whole.
        var accounts: UniqueAccounts
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

        /// The account of a slot if it belongs to the assignment `stamp`.
        mutating func withAccount<R>(_ slot: Int, _ stamp: UInt64, _ body: (inout Account) -> R) -> R? {
            guard memory.indices.contains(slot), memory[slot].stamp == stamp else { return nil }
            return body(&memory[slot])
        }

        mutating func withAccount<R>(_ slot: Int, _ body: (inout Account) -> R) -> R? {
            guard memory.indices.contains(slot) else { return nil }
            return body(&memory[slot])
        }
    }

    private let state = Mutex(State(accounts: UniqueAccounts(count: 0) { _ in fatalError("no account in an empty pool") }))

    /// A pool without accounts.
    public init() {}

    /// Replaces all accounts: `slots` accounts of `share` each, all for the assignment `stamp`.
    ///
    /// - Parameter isOpen: whether reading may begin at once.
    public func reset(slots: Int, stamp: UInt64, share: Credits, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            state.accounts = UniqueAccounts(count: slots) { _ in
                Account(stamp: stamp, isOpen: isOpen, credits: CreditMachine(total: share, lowWatermark: lowWatermark))
            }
        }
    }

    /// Gives one slot a fresh account for a newer assignment, after its partition was claimed again.
    public func renew(slot: Int, stamp: UInt64, lowWatermark: Double, isOpen: Bool) {
        state.withLock { state in
            _ = state.accounts.withAccount(slot) { account in
                let total = account.credits.total
                account = Account(
                    stamp: stamp, isOpen: isOpen, credits: CreditMachine(total: total, lowWatermark: lowWatermark))
            }
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

    /// Opens one slot's gate, where it still has an account under this stamp. The reader must be woken by whoever opens it.
    public func open(slot: Int, stamp: UInt64) {
        state.withLock { state in _ = state.accounts.withAccount(slot, stamp) { $0.isOpen = true } }
    }

    /// What the reader may read from a slot now; zero while its gate is shut or the stamp is not the current one.
    public func allowance(slot: Int, stamp: UInt64) -> Credits {
        state.withLock { state in
            state.accounts.withAccount(slot, stamp) { $0.isOpen ? $0.credits.allowanceAsked() : .zero } ?? .zero
        }
    }

    /// The reader took a batch from a slot.
    public func spent(slot: Int, stamp: UInt64, _ amount: Credits) {
        state.withLock { state in _ = state.accounts.withAccount(slot, stamp) { $0.credits.spent(amount) } }
    }

    /// A batch of a slot is durable or dropped. Answers whether the reader waits for it and must be woken.
    public func returned(slot: Int, stamp: UInt64, _ amount: Credits) -> Bool {
        state.withLock { state in
            state.accounts.withAccount(slot, stamp) { $0.credits.returned(amount) == .wakeReader && $0.isOpen } ?? false
        }
    }

    /// Free and total credits of a slot; `nil` where it has no account under this stamp.
    public func level(slot: Int, stamp: UInt64) -> (free: Credits, total: Credits)? {
        state.withLock { state in
            state.accounts.withAccount(slot, stamp) { ($0.credits.free, $0.credits.total) }
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
}
