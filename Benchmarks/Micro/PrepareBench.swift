// Measures what a lane does with decoded events before they are sent: coalesce, sort, encode.

import Apply
import Decode
import Records
import SluiceTables

enum PrepareBench {
    /// Nanoseconds a row, in transactions of one batch.
    static func run(_ decoding: DecodeBench, _ database: BenchDatabase) async throws -> Double {
        try await database.renew()
        try await database.migrate()
        let shape = decoding.mapping.table
        let schema = try await database.withSession { try TableInspector.inspect(shape, on: $0) }
        try await database.drop()
        let plan = try WritePlan(shape, schema: schema)
        guard plan.choice.strategy == .coalesce else {
            throw BenchError("the table without triggers is not coalesced: \(plan.choice.reasons.joined(separator: "; "))")
        }
        let writer = TableWriter(
            plan: plan, configuration: ApplyConfiguration(group: "bench", outcomes: try OutcomeTable()),
            poison: PoisonGuard(PoisonLimits()))
        let changes = Decoder(mapping: decoding.mapping).decode(decoding.batch)
        let claims = [PartitionClaim(source: changes.records.source, epoch: 1, nextOffset: 0)]
        return try Measuring.nanoseconds {
            writer.recycle(try writer.prepare([BatchSlice(changes)], claims: claims))
            return DecodeBench.events
        }
    }
}
