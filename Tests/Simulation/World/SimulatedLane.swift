// One lane into the simulated database: slow, failing, losing answers, and resolving them as the port requires.

import Backpressure
import Pipeline
import Records

/// Keeps which work is durable although the stage does not know it, as the real lane does: parts of a transaction that was halved, or
/// whose answer was lost.
final class SimulatedLane: BatchApplier, @unchecked Sendable {
    // Licence for @unchecked: called from the pipeline's jobs, on the driver's thread only.

    private struct Unsettled {
        let parts: [SimulatedDatabase.Part]
        let orphan: Int?
    }

    private unowned let world: SimulatedWorld
    private let number: Int
    private var isBusy = false
    private var durable: [TopicPartition: (generation: UInt64, next: Int64)] = [:]
    private var unsettled: Unsettled?

    init(world: SimulatedWorld, number: Int) {
        self.world = world
        self.number = number
    }

    func table(of source: TopicPartition) -> Int { Int(source.partition) % world.scenario.tables }

    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult {
        world.entered("apply")
        world.expect(!isBusy, "lane \(number) was given two transactions at once")
        isBusy = true
        defer { isBusy = false }
        examine(work)
        world.note(.apply, number, attempt, "lane \(number): \(describe(work)), attempt \(attempt)")
        let database = world.database!
        try await pause()
        try await database.reached()
        let answer = try await answer(work)
        switch answer {
        case .fenced(let partitions), .stopped(let partitions, _): world.member?.source.distrust(partitions)
        case .appliedInPart(_, let waiting): world.member?.source.distrust(waiting.map(\.source))
        case .applied, .retry, .tooLarge: break
        }
        return answer
    }

    private func answer(_ work: [PartitionBatches]) async throws -> ApplyResult {
        if world.database.isDown { return .retry(reason: "the server is away", isOutage: true) }
        if let answer = settle(work) { return answer }
        if world.strikes(world.scenario.applyFaults) {
            if let answer = try await fault(work) { return answer }
        }
        return try await write(remaining(work), of: work)
    }

    /// Checks the shape of a transaction.
    private func examine(_ work: [PartitionBatches]) {
        let configuration = world.scenario.configuration
        var records = 0
        var bytes = 0
        var batches = 0
        world.expect(Set(work.map { table(of: $0.source) }).count == 1, "a transaction of several tables")
        for (index, part) in work.enumerated() {
            let lane = EventPipeline.lane(of: part.source, among: configuration.lanes)
            world.expect(lane == number, "\(part.source) came to lane \(number)")
            world.expect(!work[..<index].contains { $0.source == part.source }, "\(part.source) is in one transaction twice")
            world.expect(!part.batches.isEmpty, "\(part.source) has no batches in its transaction")
            for batch in part.batches {
                world.expect(batch.records.generation == part.generation, "\(part.source): another generation in a batch")
                records += batch.records.count
                bytes += batch.records.byteCount
                batches += 1
            }
        }
        world.expect(
            batches == 1 || (records <= configuration.batch.records && bytes <= configuration.batch.bytes),
            "a transaction of \(batches) batches carries \(records) records and \(bytes) bytes")
    }

    private func describe(_ work: [PartitionBatches]) -> String {
        work.map { "\($0.source) \($0.expected)..<\($0.next) epoch \($0.epoch)" }.joined(separator: ", ")
    }

    /// The network delay to the server, or back.
    private func pause() async throws {
        let wait = world.isChaotic ? world.faults.next() % (world.scenario.latency + 1) : world.faults.next() % millisecond
        try await world.clock.sleep(until: world.clock.now + wait)
    }

    private func fault(_ work: [PartitionBatches]) async throws -> ApplyResult? {
        switch world.faults.below(9) {
        case 0: return .retry(reason: "deadlock", isOutage: false)
        case 1: return .retry(reason: "connection refused", isOutage: true)
        case 2:
            world.coverage.met(.halves)
            return work.reduce(0) { $0 + $1.batches.count } > 1 ? .tooLarge(reason: "statement timeout") : try await half(work)
        case 3: return try await half(work)
        case 4, 5, 6: return lost(remaining(work))
        case 7: return try await leaveOut(world.faults.pick(work).source, of: work)
        default:
            guard world.faults.chance(0.2) else { return nil }
            let source = world.faults.pick(work).source
            return .stopped([source], reason: StopReason(world.faults.pick(StopReason.Kind.allCases), "as the seed has it"))
        }
    }

    /// A record of one partition waits: what is before it and the other partitions become durable.
    private func leaveOut(_ source: TopicPartition, of work: [PartitionBatches]) async throws -> ApplyResult? {
        world.coverage.met(.waits)
        let parts = remaining(work).compactMap { part -> SimulatedDatabase.Part? in
            guard SimulatedLog.name(part.partition) == source else { return part }
            let before = part.records.prefix(part.records.count / 2)
            guard let last = before.last else { return nil }
            return SimulatedDatabase.Part(
                partition: part.partition, epoch: part.epoch, expected: part.expected, records: before, next: last.offset + 1)
        }
        let refused = world.database.write(parts)
        guard refused.isEmpty else { return .fenced(refused.map(SimulatedLog.name)) }
        note(durable: parts, work)
        try await pause()
        let wait = world.faults.milliseconds(0...40)
        return .appliedInPart(
            AppliedCounts(), waiting: [WaitingPartition(source: source, retryIn: wait, reason: "a parent is missing")])
    }

    /// The connection was lost, and it is not known whether the transaction is durable.
    private func lost(_ parts: [SimulatedDatabase.Part]) -> ApplyResult {
        world.coverage.met(.unknownOutcomes)
        var orphan: Int?
        switch world.faults.below(3) {
        case 0: break
        case 1:
            let refused = world.database.write(parts)
            guard refused.isEmpty else { return .fenced(refused.map(SimulatedLog.name)) }
        default: orphan = world.database.orphan(parts, after: world.faults.milliseconds(0...40))
        }
        unsettled = Unsettled(parts: parts, orphan: orphan)
        world.note(.settle, number, 0, "lane \(number): the answer is lost")
        return .retry(reason: "connection lost", isOutage: true)
    }

    /// Finds out whether a transaction whose answer was lost is durable.
    private func settle(_ work: [PartitionBatches]) -> ApplyResult? {
        guard let unsettled else { return nil }
        self.unsettled = nil
        if let orphan = unsettled.orphan { world.database.end(orphan: orphan) }
        var fenced: [TopicPartition] = []
        for part in unsettled.parts {
            let source = SimulatedLog.name(part.partition)
            guard let current = work.first(where: { $0.source == source && $0.epoch == part.epoch }) else { continue }
            let row = world.database.rows[part.partition]
            if row.epoch != part.epoch {
                fenced.append(source)
            } else if row.next == part.next {
                durable[source] = (current.generation, part.next)
            }
        }
        world.note(.settle, number, fenced.count, "lane \(number): the lost transaction is settled, \(fenced.count) fenced")
        return fenced.isEmpty ? nil : .fenced(fenced)
    }

    /// The first half becomes durable, the second one must be tried again.
    private func half(_ work: [PartitionBatches]) async throws -> ApplyResult? {
        let parts = remaining(work)
        guard let part = parts.first, part.records.count > 1 else { return .retry(reason: "too large", isOutage: false) }
        let first = part.records.prefix(part.records.count / 2)
        let cut = SimulatedDatabase.Part(
            partition: part.partition, epoch: part.epoch, expected: part.expected, records: first, next: first.last!.offset + 1)
        let refused = world.database.write([cut])
        guard refused.isEmpty else { return .fenced(refused.map(SimulatedLog.name)) }
        note(durable: [cut], work)
        try await pause()
        return .retry(reason: "statement timeout", isOutage: false)
    }

    private func write(_ parts: [SimulatedDatabase.Part], of work: [PartitionBatches]) async throws -> ApplyResult {
        let refused = world.database.write(parts)
        guard refused.isEmpty else { return .fenced(refused.map(SimulatedLog.name)) }
        world.coverage.met(.transactions)
        note(durable: parts, work)
        // A cancellation during the answer's way back finds it durable.
        try await pause()
        return .applied(AppliedCounts())
    }

    private func note(durable parts: [SimulatedDatabase.Part], _ work: [PartitionBatches]) {
        for part in parts {
            let source = SimulatedLog.name(part.partition)
            guard let current = work.first(where: { $0.source == source }) else { continue }
            durable[source] = (current.generation, part.next)
        }
    }

    /// The work that is not durable yet.
    private func remaining(_ work: [PartitionBatches]) -> [SimulatedDatabase.Part] {
        work.compactMap { part in
            let position: Int64
            if let known = durable[part.source], known.generation == part.generation {
                position = Swift.max(part.expected, known.next)
            } else {
                position = part.expected
            }
            var records: [(offset: Int64, value: Int64)] = []
            for batch in part.batches {
                for (index, record) in batch.records.records.enumerated() where record.offset >= position {
                    let value = batch.value(batch.cell(change: index, column: 0))!.loadUnaligned(as: Int64.self)
                    records.append((record.offset, Int64(bigEndian: value)))
                }
            }
            guard position < part.next else { return nil }
            return SimulatedDatabase.Part(
                partition: Int(part.source.partition), epoch: part.epoch, expected: position, records: records[...],
                next: part.next)
        }
    }
}

/// Claims that are slow, fail before or after their effect, answer in two parts or for some, or hold a partition.
final class SimulatedClaimer: OffsetClaimer, @unchecked Sendable {
    // Licence for @unchecked: called from the pipeline's jobs, on the driver's thread only.

    struct Failure: Error {}

    private unowned let world: SimulatedWorld

    init(world: SimulatedWorld) { self.world = world }

    func claim(
        _ requests: [ClaimRequest], isWanted: @escaping @Sendable () -> Bool,
        answer: @escaping @Sendable ([TopicPartition: ClaimResult]) -> Void
    ) async throws {
        world.entered("claim")
        let database = world.database!
        let isFaulty = world.strikes(world.scenario.claimFaults)
        let kind = isFaulty ? world.faults.below(6) : -1
        let longest = kind == 0 ? world.scenario.configuration.claimDeadline * 3 : world.scenario.latency
        if kind == 0 { world.coverage.met(.lateClaims) }
        world.note(.claim, kind, requests.count, "claim of \(requests.count) partitions\(isFaulty ? ", fault \(kind)" : "")")
        try await pause(longest)
        // As lanes of which one is stuck: the second part is claimed much later.
        let late = kind == 5 ? requests.filter { _ in world.faults.chance(0.5) } : []
        try await claim(requests.filter { !late.contains($0) }, longest, kind, database, isWanted, answer)
        guard !late.isEmpty else { return }
        world.coverage.met(.stragglers)
        try await pause(world.scenario.configuration.claimDeadline * 3)
        try await claim(late, longest, -1, database, isWanted, answer)
    }

    private func claim(
        _ requests: [ClaimRequest], _ longest: UInt64, _ kind: Int, _ database: SimulatedDatabase, _ isWanted: () -> Bool,
        _ answer: ([TopicPartition: ClaimResult]) -> Void
    ) async throws {
        try await database.reached()
        if kind == 1 || database.isDown { throw Failure() }
        guard isWanted() else { return world.coverage.met(.unwantedClaims) }
        let active = world.member?.pipeline?.snapshot().positions.filter(\.isValid).map(\.source) ?? []
        world.expect(
            !requests.contains { active.contains($0.source) }, "one of \(requests.map(\.source)) is claimed by its own owner")
        var results: [TopicPartition: ClaimResult] = [:]
        for (index, request) in requests.enumerated() {
            let (source, number) = (request.source, Int(request.source.partition))
            if kind == 2, index > 0 { break }
            if kind == 3, world.faults.chance(0.2) {
                results[source] = .held(
                    reason: StopReason(world.faults.pick(StopReason.Kind.allCases), "the offset is outside the log"))
                continue
            }
            if kind == 3, world.faults.chance(0.2) {
                results[source] = .later(reason: "the partition has no leader")
                continue
            }
            if request.checksBounds || database.rows[number].epoch == 0 {
                let log = world.log.partitions[number]
                guard !log.isMissing else {
                    results[source] = .later(reason: "the topic does not exist")
                    continue
                }
                let row = database.rows[number]
                let isOtherLog = request.mismatch.map { $0 == database.lastApplied(number) } ?? false
                world.expect(!isOtherLog || row.life != log.life, "\(source) was taken for another log")
                if row.next > log.end || isOtherLog { database.move(number) }
            }
            let claim = database.claim(number)
            results[source] = .claimed(
                epoch: claim.epoch, nextOffset: claim.next, lastApplied: database.lastApplied(number))
        }
        if kind == 4 { throw Failure() }
        try await pause(longest)
        answer(results)
    }

    private func pause(_ longest: UInt64) async throws {
        try await world.clock.sleep(until: world.clock.now + world.faults.next() % (longest + 1))
    }
}

/// One cell a record: its offset.
struct SimulatedDecoder: RecordDecoder, @unchecked Sendable {
    // Licence for @unchecked: see SimulatedWorld.
    let world: SimulatedWorld

    func decode(_ batch: RecordBatch) -> DecodeResult {
        world.entered("decode")
        if world.strikes(world.scenario.decodeFaults) {
            world.coverage.met(.parks)
            world.member?.source.distrust([batch.source])
            return .notNow(reason: "a schema is on its way")
        }
        var rows = ChangeRows(columnCount: 1)
        for (index, record) in batch.records.enumerated() {
            rows.append(cell: rows.values.appendSlice(batch.bytes(of: record.key)!))
            rows.append(record: index, operation: .upsert, keyPrefix: 0)
        }
        return .decoded(ChangeBatch(records: batch, rows: rows))
    }
}
