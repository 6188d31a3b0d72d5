// Shares the ledger between the stages, and the credits with it.

import Backpressure
import Records
import Synchronization

/// The ledger behind its lock, together with the credit accounts it alone refunds.
final class OffsetLedger: Sendable {
    let pool: CreditPool
    private let machine = Mutex(OffsetLedgerMachine())

    init(pool: CreditPool) { self.pool = pool }

    func withLock<R>(_ body: (inout sending OffsetLedgerMachine) -> sending R) -> sending R {
        machine.withLock(body)
    }

    /// A batch left the pipeline. Answers whether the reader waits for its credits.
    func completed(_ source: TopicPartition, stamp: UInt64, nextOffset: Int64, isDurable: Bool) -> Bool {
        let refund = machine.withLock {
            $0.completed(source, stamp: stamp, nextOffset: nextOffset, isDurable: isDurable)
        }
        guard let refund else { return false }
        return pool.returned(slot: refund.slot, stamp: refund.stamp, refund.credits)
    }

    func isCurrent(_ source: TopicPartition, stamp: UInt64) -> Bool {
        machine.withLock { $0.entry(source, stamp: stamp) != nil }
    }
}
