// What waiting for other rows costs, and what it must not cost: a lane against a model of a table in simulated time.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

private let second: UInt64 = 1_000_000_000

/// One partition whose records arrive at a fixed rate. Some are refused for good, others until some time after they were produced.
private struct WaitingWorld {
    /// Every so manieth record is refused for good.
    let lasting: Int
    /// Every so manieth record has to wait until its row is there, and how long after it was produced that is.
    let late: (every: Int, by: UInt64)
    /// Nanoseconds between two records; 0: all of them are there.
    let interval: UInt64

    init(lasting: Int = .max, late: (every: Int, by: UInt64) = (.max, 0), interval: UInt64 = 0) {
        self.lasting = lasting
        self.late = late
        self.interval = interval
    }

    private static let source = TopicPartition("t", 0)
    private static let batch = 100
    /// What a transaction and each of its records take.
    private static let costs = (transaction: UInt64(5_000_000), record: UInt64(5_000_000))
    private static let timeout = 10 * second

    private(set) var applied: Set<Int> = []
    private(set) var deadLetters: Set<Int> = []
    private(set) var waited: UInt64 = 0
    private var now: UInt64 = 0

    private func refusal(_ record: Int) -> PostgresError? {
        var error = PostgresError(.server, "refused", sqlState: .uniqueViolation)
        if record % lasting == lasting - 1 {
            error.constraint = "lasting"
        } else if record % late.every == late.every - 1, now < UInt64(record) * interval + late.by {
            error.constraint = "late"
        } else {
            return nil
        }
        return error
    }

    mutating func run(seconds: UInt64) throws {
        var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: Self.timeout)
        var next = 0
        var generation: UInt64 = 1
        while now < seconds * second {
            let produced = interval == 0 ? Int.max : Int(now / interval) + 1
            let count = min(Self.batch, produced - next)
            if count <= 0 {
                now = UInt64(next) * interval
                continue
            }
            let batch = changeBatch(
                Self.source, from: Int64(next) * 2, (0..<count).map { message(.upsert, $0) }, shape: messagesShape)
            var action = machine.batchesArrived(
                [
                    PartitionBatches(
                        source: Self.source, generation: generation, epoch: 1, expected: Int64(next) * 2, batches: [batch])
                ], at: now)
            while case .write(let slices, _, let final, _) = action {
                let (outcome, end) = execute(slices, final)
                next = end ?? next
                action = machine.executed(outcome, of: [], at: now)
            }
            switch action {
            case .answer(.applied): break
            case .answer(.appliedInPart(_, let waiting)):
                let pause = try #require(waiting.first).retryIn
                now += pause
                waited += pause
                generation += 1
                machine.claimed(Self.source)
            default:
                Issue.record("\(action)")
                return
            }
        }
    }

    private mutating func execute(_ slices: [BatchSlice], _ final: FinalConstraints) -> (ApplyOutcome, next: Int?) {
        let records = slices.flatMap { slice in slice.records.map { Int(slice.batch.records.records[$0].offset / 2) } }
        now += Self.costs.transaction + UInt64(records.count) * Self.costs.record
        var refused: [Int] = []
        for record in records {
            guard let error = refusal(record) else { continue }
            if !final.contains(error.constraint) { return (.retry(.constraint, error), nil) }
            refused.append(record)
        }
        deadLetters.formUnion(refused)
        applied.formUnion(Set(records).subtracting(refused))
        var report = ApplyReport()
        report.records = records.count
        return (.applied(report), records.last.map { $0 + 1 })
    }
}

@Suite struct ConstraintWaitTests {
    /// However many values are taken for good, at least half of the records that could be written are.
    @Test(arguments: [20, 100, 1_000]) func refusalsForGoodCostLessThanHalf(_ lasting: Int) throws {
        var without = WaitingWorld()
        try without.run(seconds: 600)
        var with = WaitingWorld(lasting: lasting)
        try with.run(seconds: 600)
        let written = with.applied.count + with.deadLetters.count
        #expect(written * 2 > without.applied.count, "\(written) of \(without.applied.count)")
        #expect(with.deadLetters.allSatisfy { $0 % lasting == lasting - 1 })
        #expect(with.deadLetters.count >= with.applied.count / lasting)
        #expect(with.waited > 5 * second, "the first one waited")
    }

    /// Rows that are always a second late are waited for, also where other records are refused for good in between.
    @Test(arguments: [3, 50]) func rowsThatAreLateAreWaitedFor(_ late: Int) throws {
        var world = WaitingWorld(lasting: 1_000, late: (late, second), interval: 20_000_000)
        try world.run(seconds: 600)
        #expect(world.deadLetters.allSatisfy { $0 % 1_000 == 999 }, "\(world.deadLetters.filter { $0 % 1_000 != 999 }.sorted())")
        #expect(world.applied.count > 25_000)
    }

    @Test func aWaitIsBoundedByWhatFormerOnesHaveLedTo() {
        var history = ConstraintHistory()
        let timeout = 10 * second
        func longest(_ constraint: String = "a", at seconds: UInt64) -> UInt64 {
            history.longestWait(for: constraint, from: seconds * second, timeout: timeout)
        }
        #expect(longest(at: 100) == .max)
        history.waitFailed("a", since: 90 * second, at: 100 * second, timeout: timeout)
        #expect(longest("b", at: 100) == .max)
        #expect(longest(at: 101) == 0)
        #expect(history.constraintsWithoutWait(from: 101 * second, timeout: timeout) == ["a"])
        #expect(longest(at: 102) == second / 2)
        #expect(longest(at: 108) == 2 * second)
        #expect(longest(at: 90) == 0, "it began before the other one had ended")
        // Waits of two seconds have ended well.
        history.waitSucceeded("a", after: 2 * second, at: 110 * second)
        history.waitFailed("a", since: 110 * second, at: 111 * second, timeout: timeout)
        #expect(longest(at: 111) == 8 * second)
        #expect(history.constraintsWithoutWait(from: 111 * second, timeout: timeout) == [])
        history.waitSucceeded("a", after: second / 10, at: 112 * second)
        #expect(longest(at: 112) == 4 * second, "shorter ones make it shorter, step by step")
        history.waitFailed("a", since: 990 * second, at: 1_000 * second, timeout: timeout)
        #expect(longest(at: 1_001) == 0, "what was long ago does not count")
    }

    /// A lane may find the record only when it has waited as long as it may. Then the next one does not wait.
    @Test func findingTheRecordIsAWaitToo() throws {
        var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: second)
        let source = TopicPartition("t", 0)
        let batch = changeBatch(source, from: 0, [message(.upsert, 1), message(.upsert, 2)], shape: messagesShape)
        let refused = ApplyOutcome.retry(
            .constraint, PostgresError(.server, "refused", sqlState: .foreignKeyViolation))
        let part = PartitionBatches(source: source, generation: 1, epoch: 1, expected: 0, batches: [batch])
        func written(_ action: LaneMachine.Action) -> (records: [Range<Int>], final: FinalConstraints)? {
            guard case .write(let slices, _, let final, _) = action else { return nil }
            return (slices.map(\.records), final)
        }
        _ = machine.batchesArrived([part], at: 1)
        #expect(written(machine.executed(refused, of: [], at: 1))?.final == FinalConstraints.none)
        #expect(written(machine.executed(refused, of: [], at: second + 1))?.final == .all)
        var report = ApplyReport()
        report.records = 1
        let next = try #require(written(machine.executed(.applied(report), of: [], at: second + 2)))
        #expect(next.records == [1..<2])
        #expect(next.final == .named([""]))
    }

    /// Where no row ever comes, a seventeenth of the time is spent waiting; after one that has come it may be a fifth again.
    @Test func waitsInVainBecomeRarer() {
        var history = ConstraintHistory()
        let timeout = 10 * second
        func longest(at seconds: UInt64) -> UInt64 { history.longestWait(for: "a", from: seconds * second, timeout: timeout) }
        func fail(since: UInt64, at seconds: UInt64) {
            history.waitFailed("a", since: since * second, at: seconds * second, timeout: timeout)
        }
        fail(since: 0, at: 10)
        #expect(longest(at: 26) == 4 * second)
        fail(since: 5, at: 11)
        #expect(longest(at: 27) == 4 * second, "two partitions that waited at the same time")
        fail(since: 12, at: 13)
        #expect(longest(at: 29) == 2 * second)
        fail(since: 14, at: 15)
        #expect(longest(at: 31) == second)
        fail(since: 16, at: 17)
        #expect(longest(at: 33) == second, "not rarer than that")
        #expect(longest(at: 24) == 0)
        history.waitSucceeded("a", after: second / 10, at: 34 * second)
        #expect(longest(at: 37) == 5 * second)
        fail(since: 150, at: 151)
        #expect(longest(at: 167) == 4 * second)
    }
}
