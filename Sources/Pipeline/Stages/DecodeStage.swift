// The second stage: decodes records into changes and routes them to their partition's lane.

import Backpressure
import Records

struct DecodeStage: Sendable {
    let context: StageContext
    let decoder: any RecordDecoder

    func run() async throws {
        // How often in a row each partition's next records could not be decoded yet.
        var refusals: [TopicPartition: Int] = [:]
        while let batch = try await context.decode.receive() {
            let cost = context.charge(batch)
            guard let entry = context.ledger.withLock({ $0.entry(batch.source, generation: batch.generation) }) else {
                context.drop([Completion.Part(batch, credits: cost)])
                continue
            }
            switch decoder.decode(batch) {
            case .decoded(let changes):
                if !refusals.isEmpty { refusals[batch.source] = nil }
                context.lanes[entry.lane].send(RoutedChanges(entry: entry, changes: changes, cost: cost))
            case .notNow(let reason):
                let refusal = refusals[batch.source, default: 0]
                refusals[batch.source] = refusal + 1
                park(batch, cost, reason: reason, refusal: refusal)
            }
        }
    }

    /// Gives up the partition's records and lets it be claimed again after the back-off. So it holds no memory meanwhile, and a
    /// revocation or the end finds nothing of it.
    private func park(_ batch: RecordBatch, _ cost: Credits, reason: String, refusal: Int) {
        _ = context.ledger.withLock { $0.invalidated(batch.source, generation: batch.generation) }
        context.drop([Completion.Part(batch, credits: cost)])
        let delay = context.configuration.retry.delay(attempt: refusal, random: context.clock.random())
        context.inbox.send(
            .waits(
                WaitingPartition(source: batch.source, retryIn: delay, reason: reason, cause: .decoder),
                generation: batch.generation))
    }
}
