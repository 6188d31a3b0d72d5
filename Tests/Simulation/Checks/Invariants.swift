// The invariants of a schedule: at every moment, when all work is done, and after the end.

import Backpressure
import Kafka
import Pipeline
import Records

struct Invariants {
    let world: SimulatedWorld
    let member: Member

    /// At any moment between two jobs.
    func holdNow() {
        let source = member.source
        source.group.checkAnswer()
        let configuration = world.scenario.configuration
        let share = configuration.share(partitions: source.accounts.count)
        let largest = SimulatedLog.largest(world.scenario)
        for (index, reader) in source.accounts.enumerated() {
            guard let level = source.pool.level(slot: reader.slot, generation: reader.generation) else { continue }
            let name = SimulatedLog.name(reader.partition)
            let outstanding = level.total - level.free
            world.expect(outstanding.records >= 0 && outstanding.bytes >= 0, "\(name): more was refunded than spent")
            world.expect(
                outstanding.records <= share.records && outstanding.bytes < share.bytes + largest,
                "\(name): \(outstanding) under way of \(share): more than one record of debt")
            if level.free.bytes < 0 { world.coverage.met(.debts) }
            let underWay = source.underWay(index, appliedUpTo: world.database.rows[reader.partition].next)
            world.expect(
                !reader.isIntact || outstanding.covers(underWay),
                "\(name): \(outstanding) charged, but \(underWay) under way: refunded before it was durable")
        }
        // A gap is legal, but for the first record after a begin: each begin costs one seek at most, and a seek is a begin. Where the log
        // ends at the last record, reading begins after it, and again at the record if the log has grown meanwhile.
        let (seeks, begins, ends) = (source.reader.statistics.reseeks, source.library.begins, source.library.endsAtBegin)
        world.expect(
            2 * seeks <= begins + 2 * ends,
            "\(seeks) seeks for offsets that are missing, \(begins - seeks) begins, \(ends) of them at the end of the log")
        // A lane releases its last transaction only after the ledger has been updated.
        let spare = configuration.lanes * (configuration.batch.bytes + largest)
        let held = source.heldBytes()
        let memory = source.pool.memory
        world.expect(
            held <= memory.outstanding.bytes + spare, "\(held) bytes of batches are held, \(memory.outstanding) are charged")
        // Over all assignments: the number that limits memory.
        world.expect(
            configuration.budget.covers(memory.total) && memory.outstanding.records <= configuration.budget.records
                && memory.outstanding.bytes < configuration.budget.bytes + largest,
            "\(memory.outstanding) under way in all, of \(configuration.budget)")
        let total = source.pool.level().total
        world.expect(
            total.records <= Swift.max(configuration.budget.records, world.scenario.partitions)
                && total.bytes <= Swift.max(configuration.budget.bytes, world.scenario.partitions),
            "the accounts hold \(total), more than the budget \(configuration.budget)")
    }

    /// Checks a snapshot, as a scrape of the metrics takes it.
    func holdInSnapshot() {
        guard let snapshot = member.pipeline?.snapshot() else { return }
        let total = snapshot.totalCredits - snapshot.freeCredits
        var outstanding = Credits.zero
        for position in snapshot.positions {
            outstanding += position.outstanding
            let row = world.database.rows[Int(position.source.partition)]
            // The log of a position that was given up may be gone, and the row belongs to the next one.
            world.expect(
                position.applied <= row.next || !position.isValid && row.life > 0,
                "\(position.source): the ledger says \(position.applied), the database \(row.next)")
            // What was committed in the log before is replaced soon.
            world.expect(
                row.life > 0 || world.database.hasApplied(Int(position.source.partition), before: position.committed ?? 0),
                "\(position.source): committed is ahead of applied")
        }
        // A batch that the poll stage has not seen yet is spent, and not in the ledger.
        world.expect(total.covers(outstanding), "the ledger has \(outstanding) under way, the accounts only \(total)")
    }

    /// Checks that everything is applied and all credits are returned. Returns what is missing, or `nil`.
    func hindrance() -> String? {
        guard world.database.isComplete else { return "records are not applied" }
        guard let snapshot = member.pipeline?.snapshot() else { return "there is no pipeline" }
        guard snapshot.summary == "running" else { return "the pipeline is \(snapshot.summary)" }
        guard snapshot.freeCredits == snapshot.totalCredits else {
            return "credits are missing: \(snapshot.freeCredits) of \(snapshot.totalCredits)"
        }
        guard member.source.pool.memory.outstanding == .zero else {
            return "\(member.source.pool.memory.outstanding) are charged without a batch"
        }
        guard snapshot.paused.isEmpty else { return "paused: \(snapshot.paused.sorted())" }
        guard !member.source.reader.readers.contains(where: \.isPaused) else { return "the reader has paused partitions" }
        guard !member.source.reader.readers.contains(where: \.hasFailed) else { return "the reader has failed partitions" }
        guard member.source.accounts.count == world.scenario.partitions else { return "partitions are not read" }
        guard snapshot.decodeQueue == .zero, snapshot.laneQueues.allSatisfy({ $0 == .zero }) else {
            return "queues are not empty"
        }
        for position in snapshot.positions {
            let partition = Int(position.source.partition)
            guard position.outstanding == .zero else { return "\(position.source) has \(position.outstanding) under way" }
            guard position.applied == world.database.rows[partition].next else {
                return "the ledger lags the database at \(position.source)"
            }
            guard position.committed == position.settled else { return "\(position.source) is not committed to the group" }
            guard position.end == world.log.end(partition) else { return "the end of \(position.source) is not known" }
            guard position.backlog == 0 else {
                return "\(position.source) has a backlog of \(position.backlog ?? -1) without records"
            }
        }
        return nil
    }

    /// `run()` has returned.
    func holdAfterTheEnd() {
        switch (member.ending, member.outcome) {
        case (.calm?, .returned?), (.shutdown?, .returned?), (.sourceClosed?, .returned?): break
        case (.cancelled?, .threw(is CancellationError)?), (.sourceFailed?, .threw(is Member.SourceDied)?): break
        default: world.fail("\(member.ending.map { "\($0)" } ?? "nothing") led to \(member.outcome.map { "\($0)" } ?? "nothing")")
        }
        if member.ending != .cancelled {
            let summary = member.pipeline?.snapshot().summary ?? ""
            world.expect(summary == "ended", "an ended pipeline shows the state \(summary)")
            world.expect(member.source.unassigns > 0, "the partitions were not given back at the end")
        }
        world.expect(member.source.group.isLeft, "the member has not left its group")
        world.expect(world.executor.readyCount == 0, "\(world.executor.readyCount) jobs are left")
        world.expect(world.clock.sleepers == 0, "\(world.clock.sleepers) tasks still sleep")
        world.expect(!member.source.isAwaited, "a task still waits for the source")
        world.expect(member.isForgotten(), "the pipeline is still referenced")
        world.expect(member.source.leakedBatches() == 0, "batches are still referenced")
    }
}
