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

    /// Batches left the pipeline: the only place from which credits go back. The partition's account gets what was received under its
    /// generation, the account of the whole what the batches cost, whatever their generation. Answers whether the reader waits for it.
    func completed(_ part: Completion.Part, isDurable: Bool) -> Bool {
        let refund = machine.withLock {
            part.isReceived
                ? $0.completed(part.source, generation: part.generation, nextOffset: part.nextOffset, isDurable: isDurable)
                : $0.refused(part.source, generation: part.generation, credits: part.credits)
        }
        guard let refund else { return pool.left(part.credits) }
        return pool.returned(slot: refund.slot, generation: refund.generation, refund.credits, leaving: part.credits)
    }

    func isCurrent(_ source: TopicPartition, generation: UInt64) -> Bool {
        machine.withLock { $0.entry(source, generation: generation) != nil }
    }
}
