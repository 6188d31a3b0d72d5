// The database of a schedule: offsets with epochs, the update that fences them, and rivals that claim the same partitions.

import Pipeline
import Records

/// Advances a partition's offset only for the member that has its epoch and expects its offset, as `sluice_advance` does. Every write is
/// compared with the log, record by record: one that is not "exactly once, in order" is a violation.
final class SimulatedDatabase {
    struct Row {
        var next: Int64 = 0
        var epoch: Int64 = 0
        /// Records of the log that have been applied: a prefix of it.
        var applied = 0
        /// Which of the partition's logs that is.
        var life: Int64 = 0
    }

    /// A part of a transaction: records of one partition from `expected` on.
    struct Part {
        let partition: Int
        let epoch: Int64
        let expected: Int64
        let records: ArraySlice<(offset: Int64, value: Int64)>
        let next: Int64
    }

    /// A transaction whose client is gone and that the server may still execute.
    private struct Orphan {
        let id: Int
        let parts: [Part]
    }

    private unowned let world: SimulatedWorld
    private(set) var rows: [Row]
    private var orphans: [Orphan] = []
    private var nextOrphan = 0
    private(set) var frozenUntil: UInt64 = 0
    private(set) var isDown = false
    private var outages = 0
    /// The state of another member that once held the partition.
    private var rivals: [(epoch: Int64, next: Int64)?]

    init(world: SimulatedWorld) {
        self.world = world
        rows = Array(repeating: Row(), count: world.scenario.partitions)
        rivals = Array(repeating: nil, count: world.scenario.partitions)
    }

    // MARK: Faults

    func freeze(for duration: UInt64) {
        frozenUntil = Swift.max(frozenUntil, world.clock.now + duration)
        world.note(.fault, 1, Int64(duration), "the database freezes for \(duration / millisecond) ms")
    }

    func thaw() { frozenUntil = 0 }

    func failConnections(for duration: UInt64) {
        outages += 1
        isDown = true
        world.note(.fault, 2, Int64(duration), "the database refuses everybody for \(duration / millisecond) ms")
        world.clock.after(duration) { [unowned self] in
            outages -= 1
            isDown = outages > 0
        }
    }

    /// Waits until the server answers again.
    func reached() async throws {
        while world.clock.now < frozenUntil { try await world.clock.sleep(until: frozenUntil) }
    }

    // MARK: Statements

    /// The fingerprint of the record that was applied last.
    func lastApplied(_ partition: Int) -> Int64? {
        let row = rows[partition]
        if row.applied == 0 { return nil }
        return world.log.fingerprint(row.applied - 1, in: world.log.partition(partition, life: row.life))
    }

    /// Begins the present log of a partition at its beginning.
    func move(_ partition: Int) {
        rows[partition] = Row(epoch: rows[partition].epoch + 1, life: world.log.partitions[partition].life)
        world.note(.claim, partition, 0, "database: \(SimulatedLog.name(partition)) is moved to the beginning of another log")
    }

    func claim(_ partition: Int) -> (epoch: Int64, next: Int64) {
        rows[partition].epoch += 1
        world.note(
            .claim, partition, rows[partition].epoch,
            "database: \(SimulatedLog.name(partition)) is claimed, epoch \(rows[partition].epoch), next \(rows[partition].next)")
        return (rows[partition].epoch, rows[partition].next)
    }

    /// Writes all parts or none. Returns the partitions that were refused.
    func write(_ parts: [Part]) -> [Int] {
        let refused = parts.filter { rows[$0.partition].epoch != $0.epoch || rows[$0.partition].next != $0.expected }
        guard refused.isEmpty else { return refused.map(\.partition) }
        for part in parts {
            var row = rows[part.partition]
            // Of a former log nothing has been applied.
            if row.applied == 0, let first = part.records.first { row.life = SimulatedLog.life(of: first.value) }
            let known = world.log.partition(part.partition, life: row.life)
            for record in part.records {
                guard row.applied < known.offsets.count, known.offsets[row.applied] == record.offset else {
                    let due = row.applied < known.offsets.count ? "\(known.offsets[row.applied])" : "nothing"
                    world.fail("\(SimulatedLog.name(part.partition)): offset \(record.offset) was written where \(due) was due")
                    return []
                }
                world.expect(
                    SimulatedLog.life(of: record.value) == row.life,
                    "\(SimulatedLog.name(part.partition)): offset \(record.offset) of another log was written: what is before it was skipped"
                )
                world.expect(
                    record.value == SimulatedLog.value(record.offset, life: row.life),
                    "offset \(record.offset) was written with the value of \(record.value)")
                row.applied += 1
            }
            row.next = part.next
            // An offset beyond a record that was not written has lost the record.
            world.expect(
                world.log.index(of: row.next, in: part.partition, life: row.life) == row.applied,
                "\(SimulatedLog.name(part.partition)): the offset \(row.next) passes records that were not written")
            rows[part.partition] = row
            world.note(
                .write, part.partition, row.next,
                "database: \(SimulatedLog.name(part.partition)) \(part.expected)..<\(row.next), \(part.records.count) records")
        }
        return []
    }

    /// A transaction of a client that is gone; the server executes it after `wait`, unless its backend is ended before.
    func orphan(_ parts: [Part], after wait: UInt64) -> Int {
        nextOrphan += 1
        let id = nextOrphan
        orphans.append(Orphan(id: id, parts: parts))
        world.clock.after(wait) { [unowned self] in
            guard let index = orphans.firstIndex(where: { $0.id == id }) else { return }
            let orphan = orphans.remove(at: index)
            let refused = write(orphan.parts)
            world.coverage.met(refused.isEmpty ? .lateCommits : .refusedZombies)
            let fate = refused.isEmpty ? "commits" : "is refused"
            world.note(.write, id, refused.count, "database: a transaction without a client \(fate)")
        }
        return id
    }

    /// Ends the backend of a transaction whose client is gone.
    func end(orphan id: Int) { orphans.removeAll { $0.id == id } }

    // MARK: Rivals

    /// Another member claims a partition and writes some of it; later, as a zombie, it tries again.
    func rivalClaims(_ partition: Int, _ random: inout SimulationRandom) {
        let claim = claim(partition)
        rivals[partition] = claim
        for _ in 0..<random.within(1...3) {
            let count = random.within(1...10)
            world.clock.after(random.milliseconds(0...60)) { [unowned self] in rivalWrites(partition, count) }
        }
    }

    private func rivalWrites(_ partition: Int, _ count: Int) {
        guard let rival = rivals[partition] else { return }
        let known = world.log.partitions[partition]
        // It would notice, too.
        guard !known.isMissing, rows[partition].applied == 0 || rows[partition].life == known.life else { return }
        let first = world.log.index(of: rival.next, in: partition)
        let last = Swift.min(first + count, known.offsets.count)
        guard first < last else { return }
        let records = known.offsets[first..<last].map { (offset: $0, value: SimulatedLog.value($0, life: known.life)) }
        let next = known.offsets[last - 1] + 1
        let isHolder = rows[partition].epoch == rival.epoch
        let refused = write([
            Part(partition: partition, epoch: rival.epoch, expected: rival.next, records: records[...], next: next)
        ])
        let fate = refused.isEmpty ? "writes" : "is refused at"
        world.note(.rival, partition, refused.count, "another member \(fate) \(SimulatedLog.name(partition))")
        world.expect(refused.isEmpty == isHolder, "\(SimulatedLog.name(partition)): a member without the claim could write")
        if refused.isEmpty { rivals[partition]?.next = next } else { world.coverage.met(.refusedZombies) }
    }

    /// There is no record before an offset that is not in the database.
    func hasApplied(_ partition: Int, before offset: Int64) -> Bool {
        world.log.index(of: offset, in: partition, life: rows[partition].life) <= rows[partition].applied
    }

    /// Everything that is in the log is in the database.
    var isComplete: Bool {
        rows.indices.allSatisfy {
            let (row, log) = (rows[$0], world.log.partitions[$0])
            return row.applied == log.offsets.count && (row.applied == 0 || row.life == log.life) && !log.isMissing
        }
    }
}
