// The source of a schedule: a consumer's poll thread in small steps, between the pipeline's jobs.

import Backpressure
import Kafka
import Pipeline
import Records

/// Runs the Kafka module's reader on a model of librdkafka, a step at a time: commands, the main queue, then a visit to each partition.
///
/// It has no safety poll for reading: after a visit without work it reads again only after a command, after a wake-up by a queue, or after
/// ``creditsReturned()``. So a lost wake-up stalls a partition for ever.
final class SimulatedSource: RecordSource, @unchecked Sendable {
    // Licence for @unchecked: used on the driver's thread only; the ports check it.

    private enum Command {
        case assign([PartitionStart], generation: UInt64)
        case unassign
        case seek(PartitionStart, generation: UInt64)
        case pause(TopicPartition)
        case resume(TopicPartition)
    }

    /// The batches of an assigned partition, until they are durable.
    struct Account {
        let partition: Int
        let slot: Int
        var generation: UInt64
        var handed: [(next: Int64, cost: Credits)] = []
        /// Nothing has invalidated this generation yet: its batches can only leave by being written.
        var isIntact = true
    }

    private enum Phase: Equatable {
        case asleep, mainQueue
        case visits
        case commands
    }

    private unowned let world: SimulatedWorld
    let pool: CreditPool
    let group: SimulatedGroup
    let library: SimulatedLibrary
    private(set) var reader: ReaderMachine<SimulatedLibrary>
    private(set) var accounts: [Account] = []
    private var random: SimulationRandom
    private var commands: [Command] = []
    private var phase = Phase.asleep
    private var isAwake = true
    private var mailbox: [SourceEvent] = []
    private var waiter: UnsafeContinuation<SourceEvent?, Never>?
    private var isClosed = false
    private var frozenUntil: UInt64 = 0
    /// It has not run since it was frozen.
    private var stoodStill = false
    private(set) var lastPoll: UInt64
    private(set) var overrun = 0
    /// Batches that the pipeline may still hold.
    private(set) var batches: [RecordBatch] = []
    private(set) var unassigns = 0

    init(world: SimulatedWorld, pool: CreditPool, life: UInt64) {
        self.world = world
        self.pool = pool
        group = SimulatedGroup(world: world, life: life)
        library = SimulatedLibrary(world: world, life: life)
        reader = ReaderMachine(
            port: library,
            limits: ReaderMachine.Limits(
                visit: world.scenario.visitLimit, queuedRecords: world.scenario.prefetch, queuedBytes: .max, needsWakeUps: false,
                start: 60 * millisecond),
            readLimit: SimulatedReadLimit(pool: pool, batch: world.scenario.configuration.batch))
        random = SimulationRandom(seed: world.seed, stream: 30 + life)
        lastPoll = world.clock.now
        library.source = self
        heartbeat()
    }

    // MARK: The port

    func next() async throws -> SourceEvent? {
        world.entered("next")
        world.expect(waiter == nil, "next() was called twice at a time")
        let event = await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<SourceEvent?, Never>) in
                if !mailbox.isEmpty {
                    continuation.resume(returning: mailbox.removeFirst())
                } else if isClosed || Task.isCancelled {
                    continuation.resume(returning: nil)
                } else {
                    waiter = continuation
                }
            }
        } onCancel: {
            waiter.take()?.resume(returning: nil)
        }
        if event == nil { try Task.checkCancellation() }
        return event
    }

    func assign(_ partitions: [PartitionStart], unclaimed: [TopicPartition], generation: UInt64) {
        world.entered("assign")
        group.answerGiven(isUnassign: false)
        command(
            .assign(
                partitions + unclaimed.map { PartitionStart(source: $0, offset: KafkaConsumer.noOffset) }, generation: generation)
        )
    }

    func unassign() {
        world.entered("unassign")
        group.answerGiven(isUnassign: true)
        unassigns += 1
        command(.unassign)
    }

    func seek(_ start: PartitionStart, generation: UInt64) {
        world.entered("seek")
        command(.seek(start, generation: generation))
    }

    func pause(_ partition: TopicPartition) {
        world.entered("pause")
        world.coverage.met(.pauses)
        command(.pause(partition))
    }

    func resume(_ partition: TopicPartition) {
        world.entered("resume")
        world.coverage.met(.resumes)
        command(.resume(partition))
    }

    func creditsReturned() {
        world.entered("creditsReturned")
        isAwake = true
    }

    func commit(_ offsets: [PartitionStart]) {
        world.entered("commit")
        for start in offsets {
            world.expect(
                world.database.hasApplied(Int(start.source.partition), before: start.offset),
                "\(start.source): \(start.offset) was committed before it was durable")
        }
        world.note(.command, 6, offsets.count, "pipeline: commits \(offsets.map { "\($0.source) \($0.offset)" })")
        if world.strikes(0.1) { post(.offsetCommitFailed(offsets.map(\.source), reason: "refused")) }
    }

    func commitAndWait(_ offsets: [PartitionStart], until deadline: UInt64) async {
        commit(offsets)
        guard deadline > world.clock.now else { return }
        let wait = world.faults.chance(0.1) ? deadline - world.clock.now : world.faults.next() % (2 * millisecond)
        do {
            try await world.clock.sleep(until: Swift.min(deadline, world.clock.now + wait))
        } catch {
            // Cancelled: the answer is not needed any more.
        }
    }

    func leave() {
        world.entered("leave")
        world.note(.command, 7, 0, "pipeline: leaves")
        group.leave()
    }

    func endOffsets(_ partitions: [TopicPartition]) async throws -> LogEnds {
        world.entered("endOffsets")
        try await world.clock.sleep(until: world.clock.now + world.faults.next() % (3 * millisecond))
        if world.strikes(0.1) { throw SimulatedClaimer.Failure() }
        var answer = LogEnds([:])
        for source in partitions {
            let log = world.log.partitions[Int(source.partition)]
            if log.isMissing { answer.missing.insert(source) } else { answer.ends[source] = log.end }
            // What the pipeline has not seen of it yet is dropped.
            if log.isMissing || log.end < world.database.rows[Int(source.partition)].next { distrust([source]) }
        }
        return answer
    }

    // MARK: Faults and events

    func post(_ event: SourceEvent) {
        guard !isClosed else { return }
        if let waiter = waiter.take() { waiter.resume(returning: event) } else { mailbox.append(event) }
    }

    func close() {
        isClosed = true
        waiter.take()?.resume(returning: nil)
    }

    /// A queue that was empty has an element.
    func wake() { isAwake = true }

    /// The reader has an event.
    func reported(_ event: ConsumerEvent) {
        switch event {
        case .records(let batch): post(.records(handed(batch)))
        case .reachedEnd(let source, let offset, let generation):
            world.coverage.met(.endsReached)
            post(.reachedEnd(source, offset: offset, generation: generation))
        case .partitionFailed(let source, let error, let generation):
            distrust([source])
            world.note(.read, Int(source.partition), -1, "reader: \(error)")
            if error.code == .offsetOutOfRange {
                world.coverage.met(.lostPositions)
                post(.positionLost(source, generation: generation, reason: error.description))
            } else {
                post(.partitionFailed(source, generation: generation, reason: error.description))
            }
        case .otherLog(let source, let lastApplied, let generation, let reason):
            distrust([source])
            world.coverage.met(.otherLogs)
            world.note(.read, Int(source.partition), -1, "reader: \(reason)")
            post(.positionLost(source, generation: generation, mismatch: lastApplied, reason: reason))
        case .notice(let error):
            world.coverage.met(.restarts)
            world.note(.read, -1, -1, "reader: \(error)")
            post(.notice(error.description))
        case .assigned, .revoked, .committed, .failed: world.fail("the reader reports \(event)")
        }
    }

    private func handed(_ batch: RecordBatch) -> RecordBatch {
        let cost = pool.charge(records: batch.count, bytes: batch.byteCount)
        if let index = index(of: batch.source) { accounts[index].handed.append((batch.nextOffset, cost)) }
        batches.append(batch)
        world.note(
            .read, Int(batch.source.partition), batch.nextOffset,
            "reader: \(batch.source) \(batch.records[0].offset)..<\(batch.nextOffset), \(cost), generation \(batch.generation)")
        return batch
    }

    /// The thread does not run for a while.
    func freeze(for duration: UInt64) {
        frozenUntil = Swift.max(frozenUntil, world.clock.now + duration)
        stoodStill = true
    }
    func thaw() { frozenUntil = 0 }

    /// The database has fenced or stopped a partition.
    func distrust(_ partitions: [TopicPartition]) {
        for source in partitions { if let index = index(of: source) { accounts[index].isIntact = false } }
    }

    /// All batches under way may be dropped.
    func distrustAll() { for index in accounts.indices { accounts[index].isIntact = false } }

    /// A continuation waits here.
    var isAwaited: Bool { waiter != nil }

    // MARK: The thread

    var isFrozen: Bool { world.clock.now < frozenUntil }

    /// There is something for the thread to do.
    var canStep: Bool {
        !isFrozen && (phase != .asleep || isAwake || !commands.isEmpty || group.event != nil)
    }

    /// Serves the main queue from time to time; it reads nothing, so that lost wake-ups are found.
    private func heartbeat() {
        world.clock.after(random.milliseconds(3...30)) { [weak self] in
            guard let self else { return }
            if !isFrozen, group.event == nil { lastPoll = world.clock.now }
            // The real thread comes by every 100 ms.
            if !isFrozen, !canStep {
                ran()
                reader.checkStarts()
            }
            if reader.isReading, random.chance(0.05) { overrun = random.chance(0.5) ? 0 : overrun + random.within(0...1_000) }
            heartbeat()
        }
    }

    /// The thread runs; it may have stood still before.
    private func ran() {
        if stoodStill { reader.stoodStill() }
        stoodStill = false
    }

    func step() {
        ran()
        switch phase {
        case .asleep, .commands:
            isAwake = false
            let taken = commands
            commands = []
            for command in taken { perform(command) }
            phase = .mainQueue
        case .mainQueue:
            if let event = group.takeEvent() {
                if case .revoked(_, let isLost) = event {
                    reader.revoked()
                    if isLost { distrustAll() }
                } else {
                    reader.assigned()
                }
                post(event)
            }
            lastPoll = world.clock.now
            phase = reader.isReading ? .visits : .asleep
            if phase == .visits { reader.beginRound() }
        case .visits:
            if !reader.visitNext() { phase = reader.endRound() ? .commands : .asleep }
        }
    }

    private func command(_ command: Command) {
        switch command {
        case .assign(let starts, let generation):
            world.note(
                .command, 1, Int(generation),
                "pipeline: assigns \(starts.map { "\($0.source) from \($0.offset)" }), generation \(generation)")
        case .unassign: world.note(.command, 2, 0, "pipeline: unassigns")
        case .seek(let start, let generation):
            world.note(.command, 3, start.offset, "pipeline: seeks \(start.source) to \(start.offset), generation \(generation)")
        case .pause(let source): world.note(.command, 4, Int(source.partition), "pipeline: pauses \(source)")
        case .resume(let source): world.note(.command, 5, Int(source.partition), "pipeline: resumes \(source)")
        }
        commands.append(command)
    }

    private func perform(_ command: Command) {
        switch command {
        case .assign(let starts, let generation):
            accounts = starts.enumerated().map { slot, start in
                Account(partition: Int(start.source.partition), slot: slot, generation: generation)
            }
            overrun = 0
            reader.assign(
                starts.map { ($0.source, $0.offset) },
                lastApplied: Dictionary(
                    uniqueKeysWithValues: starts.compactMap { start in start.lastApplied.map { (start.source, $0) } }),
                generation: generation)
            group.assigned()
        case .unassign:
            accounts = []
            overrun = 0
            reader.unassign()
            group.unassigned()
        case .seek(let start, let generation):
            guard let index = index(of: start.source) else { return }
            accounts[index].generation = generation
            accounts[index].isIntact = true
            accounts[index].handed = []
            reader.seek(start.source, to: start.offset, lastApplied: start.lastApplied, generation: generation)
        case .pause(let source): reader.pause([source])
        case .resume(let source): reader.resume([source])
        }
    }

    private func index(of source: TopicPartition) -> Int? { accounts.firstIndex { $0.partition == Int(source.partition) } }

    // MARK: Questions

    /// Forgets durable batches. Returns the cost of those that are not.
    func underWay(_ index: Int, appliedUpTo next: Int64) -> Credits {
        let done = accounts[index].handed.prefix { $0.next <= next }.count
        accounts[index].handed.removeFirst(done)
        return accounts[index].handed.reduce(.zero) { $0 + $1.cost }
    }

    /// Batches that are still referenced after the pipeline has gone.
    func leakedBatches() -> Int {
        mailbox = []
        return batches.indices.count { !isKnownUniquelyReferenced(&batches[$0]) }
    }

    /// The cost of the batches that are still referenced, of all generations, bytes.
    func heldBytes() -> Int {
        var bytes = 0
        var kept = 0
        for index in batches.indices {
            guard !isKnownUniquelyReferenced(&batches[index]) else { continue }
            bytes += pool.charge(records: batches[index].count, bytes: batches[index].byteCount).bytes
            batches.swapAt(kept, index)
            kept += 1
        }
        batches.removeLast(batches.count - kept)
        return bytes
    }
}

/// The credits as the reader's limit, and a transaction's size as that of a batch.
private struct SimulatedReadLimit: ReadLimit {
    let pool: CreditPool
    let batch: Credits

    func allowance(slot: Int, generation: UInt64) -> (records: Int, bytes: Int) {
        let granted = pool.allowance(slot: slot, generation: generation)
        return (Swift.min(granted.records, batch.records), Swift.min(granted.bytes, batch.bytes))
    }

    func spent(slot: Int, generation: UInt64, records: Int, bytes: Int) {
        pool.spent(slot: slot, generation: generation, pool.charge(records: records, bytes: bytes))
    }

    var recordOverhead: Int { pool.recordOverhead }
}
