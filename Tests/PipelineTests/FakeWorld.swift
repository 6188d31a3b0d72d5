// A log and a database in memory, with faults on demand: what the pipeline's tests run against.

import Backpressure
import Records
import Synchronization
import TestSupport

@testable import Pipeline

/// Real time, with a seeded random source for jitter.
final class RealClock: PipelineClock {
    private let start = ContinuousClock().now
    private let generator: Mutex<SeededRandom>

    init(seed: UInt64) { generator = Mutex(SeededRandom(seed: seed)) }

    var now: UInt64 {
        let passed = ContinuousClock().now - start
        return UInt64(passed.components.seconds) * 1_000_000_000 + UInt64(passed.components.attoseconds / 1_000_000_000)
    }
    var wallMilliseconds: Int64 { 1_700_000_000_000 + Int64(now / 1_000_000) }
    func sleep(until deadline: UInt64) async throws {
        let now = self.now
        if deadline > now { try await Task.sleep(nanoseconds: deadline - now) } else { try Task.checkCancellation() }
    }
    func random() -> Double { generator.withLock { $0.unit() } }
}

/// A log of numbered records and the one member that reads it, within its credits.
final class FakeSource: RecordSource {
    private struct Reader {
        var generation: UInt64
        var slot: Int
        var next: Int64
        var isPaused = false
    }

    private struct State {
        var ends: [TopicPartition: Int64]
        /// Where open transactions begin.
        var readable: [TopicPartition: Int64] = [:]
        var readers: [TopicPartition: Reader] = [:]
        var overspent = 0
        var maximumBatch: Int
        /// The slot visited first: the one after the last that was served, as in the real reader.
        var first = 0
        var committed: [TopicPartition: Int64] = [:]
        var pauses = 0
        var resumes = 0
        /// Pauses of paused partitions, resumes of running ones: a real consumer rewinds then.
        var wrongPauses = 0
        var unassigns = 0
        var assigns = 0
        var isSilent = false
        var isSilentAboutReadable = false
        var missing: Set<TopicPartition> = []
        var questions = 0
        var partitionLimit = Int.max
        var overrun = 0
        var hasLeft = false
    }

    struct Silent: Error {}

    private let pool: CreditPool
    private let limiter: ConsumeLimiter
    private let state: Mutex<State>
    private let events = Mailbox<SourceEvent>()
    private let clock: RealClock
    let executor: (any TaskExecutor)?

    init(
        pool: CreditPool, limiter: ConsumeLimiter, ends: [TopicPartition: Int64], maximumBatch: Int, clock: RealClock,
        executor: (any TaskExecutor)?
    ) {
        self.pool = pool
        self.limiter = limiter
        self.clock = clock
        self.executor = executor
        state = Mutex(State(ends: ends, maximumBatch: maximumBatch))
    }

    /// Reads until cancelled.
    func read() async throws {
        while true {
            for batch in readOnce() { events.send(batch) }
            try await Task.sleep(nanoseconds: 200_000)
        }
    }

    private func readOnce() -> [SourceEvent] {
        state.withLock { state in
            var events: [SourceEvent] = []
            let start = state.first
            let slots = Swift.max(1, state.readers.count)
            let order = state.readers.sorted { ($0.value.slot - start + slots) % slots < ($1.value.slot - start + slots) % slots }
            for (source, reader) in order where !reader.isPaused {
                let credits = pool.allowance(slot: reader.slot, generation: reader.generation)
                guard credits.isPositive else { continue }
                let allowance = limiter.allowance(slot: reader.slot, within: credits)
                // All have one topic: a refusal holds for all. The clock advances within a slow pass, and a slot that is visited later in
                // it must not be served before those that were refused.
                guard allowance.isPositive else { break }
                let end = Swift.min(state.ends[source]!, state.readable[source] ?? .max)
                let count = Swift.min(allowance.records, Int(end - reader.next), state.maximumBatch)
                guard count > 0 else { continue }
                let batch = RecordBatch(source: source, generation: reader.generation)
                for offset in reader.next..<(reader.next + Int64(count)) {
                    withUnsafeBytes(of: offset) {
                        batch.append(offset: offset, timestamp: clock.wallMilliseconds, key: $0, value: $0)
                    }
                }
                pool.spent(
                    slot: reader.slot, generation: reader.generation, pool.charge(records: batch.count, bytes: batch.byteCount))
                limiter.spent(slot: reader.slot, Credits(records: batch.count, bytes: batch.byteCount))
                state.first = (reader.slot + 1) % slots
                state.readers[source]?.next = batch.nextOffset
                events.append(.records(batch))
            }
            return events
        }
    }

    /// Appends to a partition of the log. Returns the offset of the last record.
    func append(_ count: Int64, to source: TopicPartition) -> Int64 {
        state.withLock { state in
            state.ends[source]! += count
            return state.ends[source]! - 1
        }
    }

    func post(_ event: SourceEvent) { events.send(event) }
    func close() { events.finish() }

    func next() async throws -> SourceEvent? { try await events.receive() }
    func assign(_ partitions: [PartitionStart], unclaimed: [TopicPartition], generation: UInt64) {
        limiter.assigned(topics: partitions.map(\.source.topic) + unclaimed.map(\.topic))
        state.withLock { state in
            state.assigns += 1
            state.first = 0
            state.readers = [:]
            for (slot, start) in partitions.enumerated() {
                state.readers[start.source] = Reader(generation: generation, slot: slot, next: start.offset)
            }
            for (index, source) in unclaimed.enumerated() {
                state.readers[source] = Reader(
                    generation: generation, slot: partitions.count + index, next: state.ends[source]!)
            }
        }
    }
    func unassign() {
        state.withLock { state in
            state.unassigns += 1
            state.readers = [:]
        }
    }
    func seek(_ start: PartitionStart, generation: UInt64) {
        state.withLock { state in
            state.readers[start.source]?.generation = generation
            state.readers[start.source]?.next = start.offset
        }
    }
    func pause(_ partition: TopicPartition) {
        state.withLock { state in
            state.pauses += 1
            if state.readers[partition]?.isPaused == true { state.wrongPauses += 1 }
            state.readers[partition]?.isPaused = true
        }
    }
    func resume(_ partition: TopicPartition) {
        state.withLock { state in
            state.resumes += 1
            if state.readers[partition]?.isPaused == false { state.wrongPauses += 1 }
            state.readers[partition]?.isPaused = false
        }
    }
    func creditsReturned() {}
    func commit(_ offsets: [PartitionStart]) {
        state.withLock { state in for start in offsets { state.committed[start.source] = start.offset } }
    }
    func commitAndWait(_ offsets: [PartitionStart], until deadline: UInt64) async { commit(offsets) }
    func leave() { state.withLock { $0.hasLeft = true } }
    func endOffsets(_ partitions: [TopicPartition]) async throws -> LogEnds {
        try state.withLock { state in
            state.questions += 1
            if state.isSilent { throw Silent() }
            let (asked, missing) = (Set(partitions), state.missing)
            return LogEnds(
                state.ends.filter { asked.contains($0.key) && !missing.contains($0.key) }, missing: missing.intersection(asked))
        }
    }
    func readableEnds(_ partitions: [TopicPartition]) async throws -> [TopicPartition: Int64] {
        try state.withLock { state in
            if state.isSilentAboutReadable { throw Silent() }
            return Dictionary(uniqueKeysWithValues: partitions.map { ($0, state.readable[$0] ?? state.ends[$0]!) })
        }
    }
    /// From now on the question how far logs can be read fails, or is answered again.
    func answersReadableEnds(_ isAnswering: Bool) { state.withLock { $0.isSilentAboutReadable = !isAnswering } }
    var partitionLimit: Int { state.withLock { $0.partitionLimit } }
    /// It was made for so many partitions.
    func fits(_ partitions: Int) { state.withLock { $0.partitionLimit = partitions } }
    /// The records from `offset` on belong to a transaction that is open; `nil`: it has ended.
    func openTransaction(_ source: TopicPartition, at offset: Int64?) { state.withLock { $0.readable[source] = offset } }
    /// From now on questions fail, or are answered again.
    func answers(_ isAnswering: Bool) { state.withLock { $0.isSilent = !isAnswering } }
    /// The topics of these partitions do not exist.
    func miss(_ sources: Set<TopicPartition>) { state.withLock { $0.missing = sources } }
    /// The log grows.
    func grow(_ source: TopicPartition, to end: Int64) { state.withLock { $0.ends[source] = end } }
    var questions: Int { state.withLock { $0.questions } }
    var overrun: Int { state.withLock { $0.overrun } }
    /// From now on it holds `bytes` of the budget beyond its share.
    func overruns(by bytes: Int) { state.withLock { $0.overrun = bytes } }
    var lastPoll: UInt64 { clock.now }

    var committed: [TopicPartition: Int64] { state.withLock { $0.committed } }
    var pauseCounts: (pauses: Int, resumes: Int) { state.withLock { ($0.pauses, $0.resumes) } }
    var wrongPauses: Int { state.withLock { $0.wrongPauses } }
    /// The next offset each reader would read.
    var positions: [TopicPartition: Int64] { state.withLock { $0.readers.mapValues(\.next) } }
    var unassigns: Int { state.withLock { $0.unassigns } }
    var assigns: Int { state.withLock { $0.assigns } }
    var hasLeft: Bool { state.withLock { $0.hasLeft } }
}

struct FakeDecoder: RecordDecoder {
    let witness: @Sendable () -> Void
    /// What it lacks for a batch.
    let lacks: @Sendable (RecordBatch) -> String?

    func decode(_ batch: RecordBatch) -> DecodeResult {
        witness()
        if let reason = lacks(batch) { return .notNow(reason: reason) }
        var rows = ChangeRows(columnCount: 1)
        for index in batch.records.indices {
            rows.append(cell: rows.appendValue(bigEndian: batch.records[index].offset))
            rows.append(record: index, operation: .upsert, keyPrefix: 0)
        }
        return .decoded(ChangeBatch(records: batch, rows: rows))
    }
}

/// Offsets with epochs, and the log of what was applied.
final class FakeDatabase: OffsetClaimer {
    struct Row {
        var next: Int64
        var epoch: Int64
    }

    struct State {
        var offsets: [TopicPartition: Row] = [:]
        var applied: [TopicPartition: [Int64]] = [:]
        /// Records of each partition, by transaction.
        var written: [[TopicPartition: Int64]] = []
        var held: [TopicPartition: StopReason] = [:]
        /// Partitions that cannot be claimed now, with the reason.
        var later: [TopicPartition: String] = [:]
        var requests: [ClaimRequest] = []
        var isDown = false
        var claims = 0
        var transactions: Int { written.count }
        var largest = 0
    }

    let state = Mutex(State())

    func claim(
        _ requests: [ClaimRequest], isWanted: @escaping @Sendable () -> Bool,
        answer: @escaping @Sendable ([TopicPartition: ClaimResult]) -> Void
    ) async throws {
        let results = try state.withLock { state in
            if state.isDown { throw Down() }
            state.claims += 1
            state.requests += requests
            var results: [TopicPartition: ClaimResult] = [:]
            for source in requests.map(\.source) {
                if let reason = state.held[source] {
                    results[source] = .held(reason: reason)
                    continue
                }
                if let reason = state.later[source] {
                    results[source] = .later(reason: reason)
                    continue
                }
                var row = state.offsets[source] ?? Row(next: 0, epoch: 0)
                row.epoch += 1
                state.offsets[source] = row
                results[source] = .claimed(epoch: row.epoch, nextOffset: row.next)
            }
            return results
        }
        answer(results)
    }

    /// Another member claims a partition.
    func steal(_ source: TopicPartition) { state.withLock { $0.offsets[source]?.epoch += 1 } }

    func write(_ work: [PartitionBatches]) -> ApplyResult {
        state.withLock { state in
            let fenced = work.filter { part in
                guard let row = state.offsets[part.source] else { return true }
                return row.epoch != part.epoch || row.next != part.expected
            }
            guard fenced.isEmpty else { return .fenced(fenced.map(\.source)) }
            var counts = AppliedCounts()
            state.written.append(
                Dictionary(work.map { ($0.source, Int64($0.batches.reduce(0) { $0 + $1.records.count })) }, uniquingKeysWith: +))
            state.largest = Swift.max(state.largest, work.reduce(0) { $0 + $1.batches.reduce(0) { $0 + $1.changes.count } })
            for part in work {
                for batch in part.batches {
                    for record in batch.records.records {
                        state.applied[part.source, default: []].append(record.offset)
                        counts.applied += 1
                    }
                }
                state.offsets[part.source]?.next = part.next
            }
            return .applied(counts)
        }
    }

    struct Down: Error {}
}

/// A lane that fails the way its plan says.
struct FakeApplier: BatchApplier {
    let database: FakeDatabase
    let executor: (any TaskExecutor)?
    let plan: @Sendable ([PartitionBatches], Int) async throws -> ApplyResult?

    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult {
        if let result = try await plan(work, attempt) {
            guard case .appliedInPart(_, let waiting) = result else { return result }
            let others = work.filter { part in !waiting.contains { $0.source == part.source } }
            guard case .applied(let counts) = database.write(others) else { return .fenced(others.map(\.source)) }
            return .appliedInPart(counts, waiting: waiting)
        }
        if database.state.withLock({ $0.isDown }) { return .retry(reason: "down", isOutage: true) }
        return database.write(work)
    }
}

/// Keeps all events.
final class Recorder: PipelineObserver {
    private let events = Mutex<[PipelineEvent]>([])
    func observed(_ event: PipelineEvent) { events.withLock { $0.append(event) } }
    var all: [PipelineEvent] { events.withLock { $0 } }
}

/// The executors of the source and of the lanes, a callback for each batch that is decoded, and what the decoder lacks for it.
struct Executors: Sendable {
    var source: (any TaskExecutor)?
    var lane: (any TaskExecutor)?
    var decoding: @Sendable () -> Void = {}
    var lacks: @Sendable (RecordBatch) -> String? = { _ in nil }
}

/// A pipeline with a fake source and database.
struct World: Sendable {
    let clock: RealClock
    let source: FakeSource
    let limiter: ConsumeLimiter
    let database = FakeDatabase()
    let recorder = Recorder()
    let pipeline: EventPipeline
    let ends: [TopicPartition: Int64]

    init(
        seed: UInt64, partitions: Int, records: Int64, configuration: PipelineConfiguration, maximumBatch: Int = 64,
        pool: CreditPool = CreditPool(), backlogs: [TopicPartition: Int64] = [:], limits: ConsumeLimits = ConsumeLimits(),
        executors: Executors = Executors(),
        plan: @escaping @Sendable ([PartitionBatches], Int) async throws -> ApplyResult? = { _, _ in nil }
    ) {
        clock = RealClock(seed: seed)
        ends = Dictionary(uniqueKeysWithValues: (0..<Int32(partitions)).map { (TopicPartition("t", $0), records) })
            .merging(backlogs) { $1 }
        limiter = ConsumeLimiter(limits, batch: configuration.batch) { [clock] in clock.now }
        source = FakeSource(
            pool: pool, limiter: limiter, ends: ends, maximumBatch: maximumBatch, clock: clock,
            executor: executors.source)
        let database = self.database
        pipeline = EventPipeline(
            configuration: configuration, source: source,
            decoder: FakeDecoder(witness: executors.decoding, lacks: executors.lacks), claimer: database,
            appliers: (0..<configuration.lanes).map { _ in
                FakeApplier(database: database, executor: executors.lane, plan: plan)
            }, pool: pool,
            clock: clock, observer: recorder)
    }

    var isComplete: Bool {
        database.state.withLock { state in ends.allSatisfy { state.offsets[$0.key]?.next == $0.value } }
    }

    /// Every record was applied once and in order, up to the offset the database holds.
    var isExact: Bool {
        database.state.withLock { state in
            state.offsets.allSatisfy { source, row in Array(0..<row.next) == state.applied[source] ?? [] }
        }
    }

    /// Runs the pipeline and its source while `body` runs, then ends both.
    func run(_ body: @escaping @Sendable (World) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let reader = Task { [source] in try await source.read() }
            defer { reader.cancel() }
            group.addTask { [pipeline] in try await pipeline.run() }
            group.addTask {
                try await body(self)
                self.pipeline.shutdown(within: 2_000_000_000)
            }
            // Not waitForAll: a pipeline that dies must end the body too.
            while try await group.next() != nil {}
        }
    }
}
