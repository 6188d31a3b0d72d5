// Holds what the stages of one pipeline share, and the messages between them.

import Backpressure
import Records
import Synchronization

/// A decoded batch on its way to its lane.
struct RoutedChanges: Sendable {
    let entry: OffsetLedgerMachine.Entry
    let changes: ChangeBatch
    /// What the reader was charged for it.
    let cost: Credits
}

/// Batches that left a lane.
struct Completion: Sendable {
    struct Part: Sendable {
        let source: TopicPartition
        let generation: UInt64
        let nextOffset: Int64
        /// What the reader was charged for the batches that leave.
        let credits: Credits
        /// The ledger knows of them.
        var isReceived = true
    }

    let parts: [Part]
    let isDurable: Bool
}

extension Completion.Part {
    init(_ batch: RecordBatch, credits: Credits, isReceived: Bool = true) {
        self.init(
            source: batch.source, generation: batch.generation, nextOffset: batch.nextOffset, credits: credits,
            isReceived: isReceived)
    }
}

/// What reaches the assignment stage, from the source and from the other stages.
enum AssignmentInput: Sendable {
    case assigned([TopicPartition])
    case revoked([TopicPartition], isLost: Bool)
    case claimAnswered(claimRound: UInt64, [TopicPartition: ClaimResult])
    case fenced(TopicPartition, generation: UInt64)
    /// `generation`: the assignment under which it was found; `nil`: the present one.
    case positionLost(TopicPartition, generation: UInt64? = nil, mismatch: Int64?, reason: String)
    /// The partition's next record waits for a row of another one, or for its decoder.
    case waits(WaitingPartition, generation: UInt64)
    /// A trouble of the source that passes by itself.
    case notice(String)
    /// `generation`: the assignment under which it was found; `nil`: the present one.
    case stopped(TopicPartition, generation: UInt64?, reason: StopReason)
    /// Stopped partitions are to be claimed again at once.
    case retryRequested([TopicPartition])
    case sourceFailed(any Error)
    case sourceClosed
    case shutdown(deadline: UInt64)
    case reconfigured
    case operatorPauses(OperatorPauses)
    case drained
    case tick
}

/// A level that one task sets and others read.
final class SharedLevel: Sendable {
    private let level = Mutex(Credits.zero)
    func set(_ level: Credits) { self.level.withLock { $0 = level } }
    var value: Credits { level.withLock { $0 } }
}

/// The mailboxes, the ledger and the ports that join the stages.
final class StageContext: Sendable {
    private struct Reloadable {
        /// As configured.
        var given: PipelineConfiguration
        /// What the source holds beyond its share, in bytes of the budget.
        var overrun = 0
        var inForce: PipelineConfiguration

        mutating func apply() { inForce = given.reduced(byOverrun: overrun) }
    }

    private let reloadable: Mutex<Reloadable>
    /// The configuration in force; read it anew for each batch.
    var configuration: PipelineConfiguration { reloadable.withLock { $0.inForce } }
    let source: any RecordSource
    let clock: any PipelineClock
    let observer: any PipelineObserver
    let pool: CreditPool
    let ledger: OffsetLedger
    let circuit: Mutex<CircuitBreakerMachine>
    let watch: PipelineWatch
    let pauses = PauseController()
    let assignment = Mutex(PublishedAssignment())
    let inbox = Mailbox<AssignmentInput>()
    let decode = Mailbox<RecordBatch> { Credits(records: $0.count, bytes: $0.byteCount) }
    let lanes: [Mailbox<RoutedChanges>]
    /// What the lanes have taken out of their mailboxes and not begun to write.
    let waiting: [SharedLevel]
    let commit = Mailbox<Completion>()
    /// ``AssignmentMachine/claimRound``: claims of other rounds are not wanted any more.
    let claimRound = Atomic<UInt64>(0)
    /// The commit stage reports an empty pipeline only while this is set.
    let isDraining = Atomic(false)
    /// Charged bytes of the batches whose transaction is under way in a lane.
    let bytesInTransactions = Atomic(0)
    /// Held by the lane whose transaction is a large one; see ``isLarge(_:)``.
    let largeTransaction = AsyncMutex()

    init(
        configuration: PipelineConfiguration, source: any RecordSource, clock: any PipelineClock,
        observer: any PipelineObserver, pool: CreditPool
    ) {
        reloadable = Mutex(Reloadable(given: configuration, inForce: configuration))
        self.source = source
        self.clock = clock
        self.observer = observer
        self.pool = pool
        ledger = OffsetLedger(pool: pool)
        // There is no reader yet, so none waits.
        _ = pool.resize(total: configuration.budget)
        watch = PipelineWatch(lanes: configuration.lanes)
        circuit = Mutex(
            CircuitBreakerMachine(
                threshold: configuration.circuitThreshold, backoff: configuration.circuit,
                probeTimeout: configuration.circuitProbeTimeout))
        lanes = (0..<configuration.lanes).map { _ in Mailbox { $0.cost } }
        waiting = (0..<configuration.lanes).map { _ in SharedLevel() }
    }

    /// What the reader was charged for a batch.
    func charge(_ batch: RecordBatch) -> Credits { pool.charge(records: batch.count, bytes: batch.byteCount) }

    /// Whether a transaction takes more than half of what those of all lanes may take together, as one record may. Of these there is one at
    /// a time, so that they take their memory beyond the budget once, and not once a lane.
    /// - Parameter bytes: its charge.
    func isLarge(_ bytes: Int) -> Bool { bytes > lanes.count * configuration.batch.bytes / 2 }

    /// Changes the configuration.
    func swap(_ configuration: PipelineConfiguration) {
        reloadable.withLock {
            $0.given = configuration
            $0.apply()
        }
    }

    /// Reduces the budget by what the source holds beyond its share. Returns whether that has changed.
    func overrun(by bytes: Int) -> Bool {
        reloadable.withLock {
            guard $0.overrun != bytes else { return false }
            $0.overrun = bytes
            $0.apply()
            return true
        }
    }

    /// Sleeps for an interval of the configuration. Reads it every second at least, so that a shorter one takes effect soon.
    func sleep(for interval: @Sendable (PipelineConfiguration) -> UInt64) async throws {
        let start = clock.now
        while true {
            let (now, due) = (clock.now, start + interval(configuration))
            guard now < due else { return }
            try await clock.sleep(until: Swift.min(due, now + 1_000_000_000))
        }
    }

    /// Tells the commit stage that batches will not be written.
    func drop(_ parts: [Completion.Part]) {
        if !parts.isEmpty { commit.send(Completion(parts: parts, isDurable: false)) }
    }
}
