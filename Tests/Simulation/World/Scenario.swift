// Draws the constants of a schedule from its seed: sizes, deadlines, fault rates, and how it ends.

import Backpressure
import Pipeline

/// How the first member ends.
enum Ending: CaseIterable {
    /// Faults end, everything drains, then it is asked to stop.
    case calm
    /// It is asked to stop during faults.
    case shutdown
    /// Its task is cancelled.
    case cancelled
    /// The source dies.
    case sourceFailed
    /// The source ends.
    case sourceClosed
}

/// Which of the ready jobs the driver prefers.
enum JobOrder: CaseIterable {
    case any, oldest, newest
}

/// The constants of one schedule.
struct Scenario {
    var configuration = PipelineConfiguration()
    let partitions: Int
    /// Most records that one visit of a partition reads.
    let visitLimit: Int
    /// Bytes of a small record's payload.
    let payload: Int
    /// Share of records that are far larger.
    let largeShare: Double
    let largePayload: Int
    /// Share of offsets that the log does not hold, and how often a burst ends with the marker of a transaction.
    let gapShare: Double
    let markerShare: Double
    /// Brokers; records that librdkafka keeps for a partition at most, and most records of one fetch.
    let brokers: Int
    let prefetch: Int
    let fetch: Int
    /// Bytes that a batch and a record are charged beyond their own.
    let batchOverhead: Int
    let recordOverhead: Int
    /// How long faults are injected, nanoseconds.
    let chaos: UInt64
    let ending: Ending
    let order: JobOrder
    /// How often the reader's thread runs first where a job could run, too.
    let readerShare: Double
    /// How often time passes although there is work, as on a slow machine.
    let stallShare: Double
    /// How often a transaction, and a claim, fails.
    let applyFaults: Double
    let claimFaults: Double
    /// How long a transaction takes at most, nanoseconds.
    let latency: UInt64
    /// How long the drain may take when the member is asked to stop, nanoseconds.
    let shutdownLimit: UInt64
    /// Tables; a partition's number decides which is its own.
    let tables: Int
    /// How often a decoder lacks something for a batch.
    let decodeFaults: Double

    init(seed: UInt64) {
        var random = SimulationRandom(seed: seed, stream: 1)
        partitions = random.within(1...6)
        visitLimit = random.pick([1, 3, 8, 20, 64])
        payload = random.pick([0, 8, 24])
        largeShare = random.pick([0, 0, 0.02, 0.2])
        largePayload = random.within(100...600)
        gapShare = random.pick([0, 0, 0.1, 0.6])
        markerShare = random.pick([0, 0, 0.5])
        brokers = random.within(1...3)
        prefetch = random.pick([2, 10, 40])
        fetch = random.pick([1, 8, 30])
        batchOverhead = random.pick([0, 20])
        recordOverhead = random.pick([0, 10])
        chaos = random.milliseconds(20...200)
        ending = random.chance(0.6) ? .calm : random.pick(Ending.allCases)
        order = random.chance(0.6) ? .any : random.pick(JobOrder.allCases)
        readerShare = random.pick([0.05, 0.3, 0.7])
        stallShare = random.pick([0, 0, 0.002, 0.02])
        applyFaults = random.pick([0, 0.05, 0.3])
        claimFaults = random.pick([0, 0.1, 0.5])
        latency = random.milliseconds(0...random.pick([1, 5, 40]))
        shutdownLimit = random.milliseconds(0...random.pick([80, 300]))

        configuration.lanes = random.within(1...3)
        configuration.budget = Credits(records: random.within(4...300), bytes: random.within(200...8_000))
        configuration.partitionRecords = random.within(1...80)
        configuration.batch = Credits(records: random.within(1...100), bytes: random.within(64...4_000))
        configuration.lowWatermark = random.pick([0, 0.1, 0.25, 0.5])
        configuration.highWatermark = random.pick([0.5, 0.75, 0.9, 1])
        configuration.pauseDwell = random.milliseconds(5...60)
        configuration.drainDeadline = random.milliseconds(5...80)
        configuration.claimDeadline = random.milliseconds(5...40)
        configuration.stragglerWait = random.milliseconds(0...20)
        configuration.offsetCommitInterval = random.milliseconds(20...60)
        configuration.finalCommitTimeout = random.milliseconds(0...60)
        configuration.lagInterval = random.milliseconds(20...60)
        configuration.tick = random.milliseconds(5...12)
        configuration.retry = Backoff(initial: millisecond, maximum: 20 * millisecond)
        configuration.reclaim = Backoff(initial: 4 * millisecond, maximum: 40 * millisecond)
        configuration.recheckInterval = random.milliseconds(10...120)
        configuration.circuitThreshold = random.within(1...4)
        configuration.circuit = Backoff(initial: 4 * millisecond, maximum: 40 * millisecond)
        configuration.circuitProbeTimeout = random.milliseconds(10...80)
        tables = random.pick([1, 1, 2, 3])
        decodeFaults = random.pick([0, 0, 0.02, 0.3])
    }

    /// Limits that an operator may set meanwhile: never larger than the schedule's, which the checks use.
    func reloaded(_ random: inout SimulationRandom) -> PipelineConfiguration {
        var changed = configuration
        let divisor = random.within(1...4)
        changed.budget.records = Swift.max(1, changed.budget.records / divisor)
        changed.budget.bytes = Swift.max(1, changed.budget.bytes / divisor)
        changed.batch.records = Swift.max(1, changed.batch.records / random.within(1...4))
        changed.lowWatermark = random.pick([0, 0.1, 0.25, 0.5])
        changed.highWatermark = random.pick([0.5, 0.75, 0.9, 1])
        changed.pauseDwell = random.milliseconds(5...60)
        return changed
    }
}
