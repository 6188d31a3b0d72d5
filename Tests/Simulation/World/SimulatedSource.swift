// The reader of a schedule: a consumer's poll thread in small steps, between the pipeline's jobs.

import Backpressure
import Pipeline
import Records

/// Does what the Kafka module's poll thread does, a step at a time: commands, the main queue, then a visit to each partition.
///
/// It has no safety poll for reading: after a visit without work it reads again only after a command, after new records, or after
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

    /// A partition that is read, and its batches until they are durable.
    struct Reader {
        let partition: Int
        let slot: Int
        var generation: UInt64
        /// Index of the next record in the log.
        var position: Int
        var isPaused = false
        var hasFailed = false
        /// False for a while after an assignment, a seek and a resume.
        var isFetching = false
        var fetch = 0
        var handed: [(next: Int64, cost: Credits)] = []
        /// Nothing has invalidated this generation yet: its batches can only leave by being written.
        var isIntact = true
    }

    private enum Phase: Equatable {
        case asleep, mainQueue
        case visit(Int)
        case commands
    }

    private unowned let world: SimulatedWorld
    let pool: CreditPool
    let group: SimulatedGroup
    private var random: SimulationRandom
    private var commands: [Command] = []
    private var phase = Phase.asleep
    private var isAwake = true
    private var hasMore = false
    private var first = 0
    private(set) var isReading = false
    private(set) var readers: [Reader] = []
    private var mailbox: [SourceEvent] = []
    private var waiter: UnsafeContinuation<SourceEvent?, Never>?
    private var isClosed = false
    private var frozenUntil: UInt64 = 0
    private(set) var lastPoll: UInt64
    private(set) var overrun = 0
    /// Batches that the pipeline may still hold.
    private(set) var batches: [RecordBatch] = []
    private(set) var unassigns = 0

    init(world: SimulatedWorld, pool: CreditPool, life: UInt64) {
        self.world = world
        self.pool = pool
        group = SimulatedGroup(world: world, life: life)
        random = SimulationRandom(seed: world.seed, stream: 30 + life)
        lastPoll = world.clock.now
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

    func assign(_ partitions: [PartitionStart], generation: UInt64) {
        world.entered("assign")
        group.answerGiven(isUnassign: false)
        command(.assign(partitions, generation: generation))
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
                start.offset <= world.database.rows[Int(start.source.partition)].next,
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

    func endOffsets(_ partitions: [TopicPartition]) async throws -> [TopicPartition: Int64] {
        world.entered("endOffsets")
        try await world.clock.sleep(until: world.clock.now + world.faults.next() % (3 * millisecond))
        if world.strikes(0.1) { throw SimulatedClaimer.Failure() }
        return Dictionary(uniqueKeysWithValues: partitions.map { ($0, world.log.end(Int($0.partition))) })
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

    /// New records are in the log.
    func logGrew() { isAwake = true }

    /// The thread does not run for a while.
    func freeze(for duration: UInt64) { frozenUntil = Swift.max(frozenUntil, world.clock.now + duration) }
    func thaw() { frozenUntil = 0 }

    /// The log does not hold a partition's position, or cannot be read at all.
    func fail(_ partition: Int, isPositionLost: Bool) {
        guard isReading, let index = readers.firstIndex(where: { $0.partition == partition }) else { return }
        guard !readers[index].hasFailed else { return }
        readers[index].hasFailed = true
        readers[index].isIntact = false
        let source = SimulatedLog.name(partition)
        world.note(.fault, 3, partition, "log: \(source) \(isPositionLost ? "does not hold its position" : "cannot be read")")
        if isPositionLost {
            world.coverage.met(.lostPositions)
            post(.positionLost(source, reason: "retention has passed it"))
        } else {
            post(.partitionFailed(source, reason: "not authorised"))
        }
    }

    /// The database has fenced or stopped a partition.
    func distrust(_ partitions: [TopicPartition]) {
        for source in partitions { if let index = index(of: source) { readers[index].isIntact = false } }
    }

    /// All batches under way may be dropped.
    func distrustAll() { for index in readers.indices { readers[index].isIntact = false } }

    /// A continuation waits here.
    var isAwaited: Bool { waiter != nil }

    // MARK: The thread

    private var isFrozen: Bool { world.clock.now < frozenUntil }

    /// There is something for the thread to do.
    var canStep: Bool {
        !isFrozen && (phase != .asleep || isAwake || !commands.isEmpty || group.event != nil)
    }

    /// Serves the main queue from time to time; it reads nothing, so that lost wake-ups are found.
    private func heartbeat() {
        world.clock.after(random.milliseconds(3...30)) { [weak self] in
            guard let self else { return }
            if !isFrozen, group.event == nil { lastPoll = world.clock.now }
            if isReading, random.chance(0.05) { overrun = random.chance(0.5) ? 0 : overrun + random.within(0...1_000) }
            heartbeat()
        }
    }

    func step() {
        switch phase {
        case .asleep, .commands:
            isAwake = false
            hasMore = false
            let taken = commands
            commands = []
            for command in taken { perform(command) }
            phase = .mainQueue
        case .mainQueue:
            if let event = group.takeEvent() {
                if case .revoked(_, let isLost) = event {
                    isReading = false
                    if isLost { distrustAll() }
                }
                post(event)
            }
            lastPoll = world.clock.now
            phase = isReading && !readers.isEmpty ? .visit(0) : .asleep
        case .visit(let step):
            if visit((first + step) % readers.count) { hasMore = true }
            if step + 1 < readers.count {
                phase = .visit(step + 1)
            } else {
                first = (first + 1) % readers.count
                phase = hasMore ? .commands : .asleep
            }
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
            readers = starts.enumerated().map { slot, start in
                let partition = Int(start.source.partition)
                return Reader(
                    partition: partition, slot: slot, generation: generation,
                    position: world.log.index(of: start.offset, in: partition))
            }
            isReading = true
            overrun = 0
            for index in readers.indices { fetch(index) }
            group.assigned()
        case .unassign:
            readers = []
            overrun = 0
            isReading = false
            group.unassigned()
        case .seek(let start, let generation):
            guard let index = index(of: start.source) else { return }
            readers[index].generation = generation
            readers[index].isIntact = true
            readers[index].hasFailed = false
            readers[index].handed = []
            readers[index].position = world.log.index(of: start.offset, in: readers[index].partition)
            fetch(index)
        case .pause(let source):
            guard let index = index(of: source) else { return }
            readers[index].isPaused = true
        case .resume(let source):
            guard let index = index(of: source), readers[index].isPaused else { return }
            readers[index].isPaused = false
            fetch(index)
        }
    }

    private func index(of source: TopicPartition) -> Int? { readers.firstIndex { $0.partition == Int(source.partition) } }

    /// The prefetch was dropped; records are there again after a while.
    private func fetch(_ index: Int) {
        readers[index].isFetching = false
        readers[index].fetch += 1
        let (partition, generation, fetch) = (readers[index].partition, readers[index].generation, readers[index].fetch)
        world.clock.after(random.milliseconds(0...2)) { [weak self] in
            guard let self,
                let index = readers.firstIndex(where: {
                    $0.partition == partition && $0.generation == generation && $0.fetch == fetch
                })
            else { return }
            readers[index].isFetching = true
            isAwake = true
        }
    }

    /// Reads what the credits allow. Returns whether there may be more.
    private func visit(_ index: Int) -> Bool {
        let reader = readers[index]
        guard !reader.isPaused, !reader.hasFailed, reader.isFetching else { return false }
        let limit = world.scenario.configuration.batch
        let granted = pool.allowance(slot: reader.slot, generation: reader.generation)
        let allowance = Credits(
            records: Swift.min(granted.records, limit.records, world.scenario.visitLimit),
            bytes: Swift.min(granted.bytes, limit.bytes))
        guard allowance.isPositive else { return false }
        let known = world.log.partitions[reader.partition]
        guard reader.position < known.offsets.count else { return false }
        let batch = RecordBatch(source: SimulatedLog.name(reader.partition), generation: reader.generation)
        var position = reader.position
        // At least one record, however large.
        repeat {
            append(known.offsets[position], payload: Int(known.payloads[position]), to: batch)
            position += 1
        } while position < known.offsets.count && batch.count < allowance.records
            && pool.charge(records: batch.count, bytes: batch.byteCount).bytes < allowance.bytes
        let cost = pool.charge(records: batch.count, bytes: batch.byteCount)
        pool.spent(slot: reader.slot, generation: reader.generation, cost)
        readers[index].position = position
        readers[index].handed.append((batch.nextOffset, cost))
        batches.append(batch)
        world.note(
            .read, reader.partition, batch.nextOffset,
            "reader: \(batch.source) \(batch.records[0].offset)..<\(batch.nextOffset), \(cost), generation \(reader.generation)")
        post(.records(batch))
        return true
    }

    private func append(_ offset: Int64, payload: Int, to batch: RecordBatch) {
        withUnsafeBytes(of: offset.bigEndian) { key in
            withUnsafeTemporaryAllocation(byteCount: payload, alignment: 8) { value in
                value.initializeMemory(as: UInt8.self, repeating: 0)
                batch.append(
                    offset: offset, timestamp: world.clock.wallMilliseconds, key: key, value: UnsafeRawBufferPointer(value))
            }
        }
    }

    // MARK: Questions

    /// Forgets durable batches. Returns the cost of those that are not.
    func underWay(_ index: Int, appliedUpTo next: Int64) -> Credits {
        let done = readers[index].handed.prefix { $0.next <= next }.count
        readers[index].handed.removeFirst(done)
        return readers[index].handed.reduce(.zero) { $0 + $1.cost }
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
