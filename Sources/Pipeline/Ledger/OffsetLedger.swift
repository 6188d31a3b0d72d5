// Shares the ledger between the stages, and returns credits as it decides.

import Backpressure
import Records
import Synchronization

/// The ledger behind its lock, and the credit accounts: the only place from which credits return.
final class OffsetLedger: Sendable {
    let pool: CreditPool
    private let machine = Mutex(OffsetLedgerMachine())

    init(pool: CreditPool) { self.pool = pool }

    func withLock<R>(_ body: (inout sending OffsetLedgerMachine) -> sending R) -> sending R {
        machine.withLock(body)
    }

    /// Batches left the pipeline. The partition's account gets back what was received under its generation, the account of the whole
    /// pipeline the batches' cost, whatever their generation. Returns whether the reader must be woken.
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
