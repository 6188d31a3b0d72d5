// The first stage: passes batches from the source to the decoder, and rebalances to the assignment stage.

import Backpressure
import Records

struct PollStage: Sendable {
    let context: StageContext

    func run() async throws {
        // However it ends: the other stages may still wait for the database.
        defer { context.source.leave() }
        while let event = try await context.source.next() {
            switch event {
            case .records(let batch):
                received(batch)
            case .assigned(let partitions):
                context.inbox.send(.assigned(partitions))
            case .revoked(let partitions, let isLost):
                // Another member may have lost partitions already: nothing of them may be written from now on.
                if isLost { context.ledger.withLock { $0.allInvalidated() } }
                context.inbox.send(.revoked(partitions, isLost: isLost))
            case .reachedEnd(let partition, let offset, let generation):
                context.ledger.withLock { $0.endReached(partition, generation: generation, offset: offset) }
            case .partitionFailed(let partition, let generation, let reason):
                context.inbox.send(.stopped(partition, generation: generation, reason: StopReason(.kafka, reason)))
            case .positionLost(let partition, let generation, let mismatch, let reason):
                context.inbox.send(.positionLost(partition, generation: generation, mismatch: mismatch, reason: reason))
            case .offsetCommitFailed(let partitions, let reason):
                context.ledger.withLock { $0.offsetCommitFailed(partitions) }
                context.inbox.send(.notice(reason))
            case .notice(let sentence):
                // Observed by the assignment stage: a log that blocks must not delay reading.
                context.inbox.send(.notice(sentence))
            case .failed(let error):
                context.ledger.withLock { $0.allInvalidated() }
                context.inbox.send(.sourceFailed(error))
            }
        }
        context.inbox.send(.sourceClosed)
    }

    private func received(_ batch: RecordBatch) {
        let credits = context.charge(batch)
        let isCurrent = context.ledger.withLock {
            $0.received(
                batch.source, generation: batch.generation, nextOffset: batch.nextOffset, timestamp: batch.earliestTimestamp,
                credits: credits) != nil
        }
        // Of an older generation, or of a partition that is fenced or stopped: its memory is freed here, and its credits return.
        guard isCurrent else { return context.drop([Completion.Part(batch, credits: credits, isReceived: false)]) }
        context.decode.send(batch)
    }
}
