// Claims partitions for the pipeline: makes sure that the table can be written, chooses each partition's first offset, and writes the
// claims.

import Apply
import Kafka
import Pipeline
import Postgres
import Records
import SluiceTables
import Telemetry

/// Claims partitions on the connections that will write them, so that a successor can end the right session.
final class PartitionClaimer: OffsetClaimer {
    private let store: OffsetStore
    private let member: String
    private let kafka: KafkaSettings
    private let plan: TablePlan
    private let metadata: KafkaMetadata
    private let lanes: [DatabaseLane]
    private let pauses: OperatorPauseSync
    private let logger: Logger

    init(
        member: String, plan: TablePlan, kafka: KafkaSettings, metadata: KafkaMetadata, lanes: [DatabaseLane],
        pauses: OperatorPauseSync, logger: Logger
    ) {
        store = OffsetStore(group: kafka.groupID)
        self.member = member
        self.plan = plan
        self.kafka = kafka
        self.metadata = metadata
        self.lanes = lanes
        self.pauses = pauses
        self.logger = logger
    }

    /// Changes limits of the lanes' present and later writers.
    func reconfigure(constraintTimeout: Duration, poison: PoisonLimits) {
        plan.poison.update(poison)
        for lane in lanes { lane.reconfigure(constraintTimeout: constraintTimeout) }
    }

    func claim(_ partitions: [TopicPartition]) async throws -> [TopicPartition: ClaimResult] {
        // The pipeline learns of pauses before the claims, and so before the first record: a paused partition must not be read.
        try await pauses.refresh()
        do {
            try await plan.claimed(on: lanes[0])
        } catch let error as PostgresError where !error.isConnectionLost && error.sqlState?.hasClass("42") == true {
            // Such as a missing privilege on the schema.
            return Self.held(partitions, "table \(plan.table) cannot be read from the catalog: \(error)")
        } catch let error as ApplyError {
            return Self.held(partitions, error.description)
        }
        var results: [TopicPartition: ClaimResult] = [:]
        var starts: [Int: [(source: TopicPartition, start: Int64)]] = [:]
        var moves: [Int: [(source: TopicPartition, from: Int64, to: Int64)]] = [:]
        var skipped: [TopicPartition: (reason: String, start: Int64)] = [:]
        for (source, answer) in try await offsets(of: partitions) {
            let offsets: StartPosition.Offsets
            do throws(KafkaError) {
                offsets = try answer.get()
            } catch {
                // One partition that Kafka refuses for good does not hold up the others.
                if error.isRetriable { throw error }
                results[source] = .held(reason: StopReason(.kafka, error.description))
                continue
            }
            switch StartPosition.decide(offsets, reset: kafka.autoOffsetReset, outOfRange: kafka.offsetOutOfRange) {
            case .hold(let reason):
                results[source] = .held(reason: StopReason(.offset, reason))
            case .start(let offset, let replacesStored, let reason):
                if let reason { skipped[source] = (reason, offset) }
                let lane = EventPipeline.lane(of: source, among: lanes.count)
                starts[lane, default: []].append((source, offset))
                if replacesStored, let stored = offsets.stored { moves[lane, default: []].append((source, stored, offset)) }
            }
        }
        for (lane, starts) in starts.sorted(by: { $0.key < $1.key }) {
            let moves = moves[lane] ?? []
            let claims = try await lanes[lane].session { [store, member] session in
                if !moves.isEmpty { try store.move(moves, member: member, on: session) }
                return try store.claim(starts, member: member, on: session)
            }
            lanes[lane].reset(claims.map(\.source))
            for claim in claims {
                results[claim.source] = .claimed(epoch: claim.epoch, nextOffset: claim.nextOffset)
                guard let (reason, start) = skipped[claim.source], start == claim.nextOffset else { continue }
                logger.error(
                    "Partition does not continue at its stored offset.",
                    ["partition": "\(claim.source)", "reason": reason, "starts_at": start])
            }
        }
        return results
    }

    private static func held(_ partitions: [TopicPartition], _ sentence: String) -> [TopicPartition: ClaimResult] {
        Dictionary(uniqueKeysWithValues: partitions.map { ($0, .held(reason: StopReason(.schema, sentence))) })
    }

    private func offsets(
        of partitions: [TopicPartition]
    ) async throws -> [TopicPartition: Result<StartPosition.Offsets, KafkaError>] {
        let stored = try await lanes[0].session { [store] in try store.read(partitions, on: $0) }
        let known = Dictionary(uniqueKeysWithValues: stored.map { ($0.source, $0.nextOffset) })
        let beginnings = try await metadata.beginningOffsets(partitions)
        let ends = try await metadata.endOffsets(partitions)
        let committed = try await metadata.committed(partitions.filter { known[$0] == nil })
        var offsets: [TopicPartition: Result<StartPosition.Offsets, KafkaError>] = [:]
        for source in partitions {
            guard let beginning = beginnings[source], let end = ends[source] else {
                throw KafkaError(.other, "Kafka returned no offsets of \(source)", isRetriable: true)
            }
            offsets[source] = Result { () throws(KafkaError) in
                StartPosition.Offsets(
                    stored: known[source], committed: try committed[source]?.get(), beginning: try beginning.get(),
                    end: try end.get())
            }
        }
        return offsets
    }
}
