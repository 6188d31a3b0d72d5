// The second stage: decodes records into changes and routes them to their partition's lane.

import Backpressure
import Records

struct DecodeStage: Sendable {
    let context: StageContext
    let decoder: any RecordDecoder

    func run() async throws {
        while let batch = try await context.decode.receive() {
            guard let entry = context.ledger.withLock({ $0.entry(batch.source, generation: batch.generation) }) else {
                context.drop([Completion.Part(batch, credits: context.charge(batch))])
                continue
            }
            let changes = decoder.decode(batch)
            let routed = RoutedChanges(entry: entry, changes: changes, cost: context.charge(batch))
            context.lanes[entry.lane].send(routed)
        }
    }
}
