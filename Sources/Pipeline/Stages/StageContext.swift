// What the stages of one pipeline share.

import Backpressure
import Records
import Synchronization

/// A decoded batch on its way to its lane.
struct RoutedChanges: Sendable {
    let entry: OffsetLedgerMachine.Entry
    let changes: ChangeBatch

    var cost: Credits { Credits(records: changes.records.count, bytes: changes.records.byteCount) }
}

/// Batches that left a lane.
struct Completion: Sendable {
    struct Part: Sendable {
        let source: TopicPartition
        let stamp: UInt64
        let nextOffset: Int64
    }

    let parts: [Part]
    let isDurable: Bool
}

/// What reaches the assignment stage, from the source and from the other stages.
enum AssignmentInput: Sendable {
    case assigned([TopicPartition])
    case revoked([TopicPartition], isLost: Bool)
    case claimAnswered(generation: UInt64, [TopicPartition: ClaimResult])
    case claimFailed(generation: UInt64, reason: String)
    case fenced(TopicPartition, stamp: UInt64)
    case positionLost(TopicPartition, reason: String)
    /// `stamp`: the assignment under which it was found; `nil`: the present one.
    case stopped(TopicPartition, stamp: UInt64?, reason: String)
    case sourceFailed(any Error)
    case sourceClosed
    case shutdown(deadline: UInt64)
    case operatorPauses(OperatorPauses)
    case drained
    case tick
}

/// The channels, the ledger and the ports that join the stages.
final class StageContext: Sendable {
    let configuration: PipelineConfiguration
    let source: any RecordSource
    let clock: any PipelineClock
    let observer: any PipelineObserver
    let pool: CreditPool
    let ledger: OffsetLedger
    let circuit: Mutex<CircuitBreakerMachine>
    let watch: PipelineWatch
    let inbox: BoundedChannel<AssignmentInput>
    let decode: BoundedChannel<RecordBatch>
    let lanes: [BoundedChannel<RoutedChanges>]
    let commit: BoundedChannel<Completion>
    /// The commit stage reports an empty pipeline only while somebody waits for it.
    let isDraining = Atomic(false)

    init(
        configuration: PipelineConfiguration, source: any RecordSource, clock: any PipelineClock,
        observer: any PipelineObserver, pool: CreditPool
    ) {
        self.configuration = configuration
        self.source = source
        self.clock = clock
        self.observer = observer
        self.pool = pool
        ledger = OffsetLedger(pool: pool)
        watch = PipelineWatch(lanes: configuration.lanes)
        circuit = Mutex(
            CircuitBreakerMachine(
                threshold: configuration.circuitThreshold, backoff: configuration.circuit,
                probeTimeout: configuration.circuitProbeTimeout))
        inbox = BoundedChannel(capacity: Credits(records: 4096, bytes: .max)) { _ in Credits(records: 1, bytes: 0) }
        // Bounded by the credits alone, which each large record overdraws: a rebalance comes behind the records of its assignment, and
        // a channel that was full while the database stands still would keep it, and with it the whole group, waiting.
        decode = BoundedChannel(capacity: Credits(records: .max, bytes: .max)) { Credits(records: $0.count, bytes: $0.byteCount) }
        lanes = (0..<configuration.lanes).map { _ in BoundedChannel(capacity: configuration.budget) { $0.cost } }
        commit = BoundedChannel(capacity: Credits(records: 1024, bytes: .max)) { Credits(records: $0.parts.count, bytes: 0) }
    }

    /// Tells the commit stage that batches will not be written.
    func drop(_ parts: [Completion.Part]) async throws {
        guard !parts.isEmpty else { return }
        try await commit.send(Completion(parts: parts, isDurable: false))
    }
}
