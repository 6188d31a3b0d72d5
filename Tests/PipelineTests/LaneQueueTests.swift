// Proves that a lane's transactions are shared equally, keep each partition's order and starve none.

import Backpressure
import Records
import TestSupport
import Testing

@testable import Pipeline

private let hot = TopicPartition("t", 0)
private let mild = TopicPartition("t", 1)
private let cool = TopicPartition("t", 2)

private func records(_ count: Int) -> Credits { Credits(records: count, bytes: count) }

@Suite struct LaneQueueTests {
    @Test func aLateBatchIsInTheNextTransaction() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<100 { queue.arrived("hot \(number)", from: hot, cost: records(10)) }
        #expect(queue.laneFreed(limit: records(30)) == ["hot 0", "hot 1", "hot 2"])
        queue.arrived("cool", from: cool, cost: records(1))
        #expect(queue.laneFreed(limit: records(30)) == ["cool", "hot 3", "hot 4"])
        #expect(queue.level == records(950))
    }

    @Test func smallBatchesGetAsManyRecordsAsLargeOnes() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<10 { queue.arrived("hot \(number)", from: hot, cost: records(50)) }
        for number in 0..<100 { queue.arrived("mild \(number)", from: mild, cost: records(5)) }
        let taken = queue.laneFreed(limit: records(200))
        #expect(taken.count { $0.hasPrefix("hot") } == 2)
        #expect(taken.count { $0.hasPrefix("mild") } == 20)
    }

    @Test func withOneBatchATransactionPartitionsAlternate() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<3 {
            queue.arrived("hot \(number)", from: hot, cost: records(90))
            queue.arrived("mild \(number)", from: mild, cost: records(90))
            queue.arrived("cool \(number)", from: cool, cost: records(90))
        }
        var taken: [String] = []
        while !queue.isEmpty { taken += queue.laneFreed(limit: records(100)) }
        #expect(
            taken == ["cool 0", "mild 0", "hot 0", "cool 1", "mild 1", "hot 1", "cool 2", "mild 2", "hot 2"])
    }

    /// Two partitions empty and fill again, with a batch in each transaction: the third, which waits, is served.
    @Test func partitionsThatEmptyAndFillDoNotOvertakeThoseThatWait() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<20 { queue.arrived("hot \(number)", from: hot, cost: records(1)) }
        var taken: [String] = []
        for number in 0..<12 {
            queue.arrived("mild \(number)", from: mild, cost: records(1))
            queue.arrived("cool \(number)", from: cool, cost: records(1))
            for _ in 0..<2 { taken += queue.laneFreed(limit: records(1)) }
        }
        #expect(taken.count { $0.hasPrefix("hot") } >= 7, "\(taken)")
    }

    @Test func aBatchLargerThanATransactionGoesAlone() {
        var queue = LaneQueueMachine<String>()
        queue.arrived("hot", from: hot, cost: records(10_000))
        queue.arrived("hot too", from: hot, cost: records(1))
        #expect(queue.laneFreed(limit: records(100)) == ["hot"])
        #expect(queue.laneFreed(limit: records(100)) == ["hot too"])
        #expect(queue.laneFreed(limit: records(100)) == [])
        #expect(queue.isEmpty == true)
    }

    /// A transaction writes one table, and the tables take turns.
    @Test func batchesOfDifferentTablesAreNeverTogether() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<3 {
            queue.arrived("hot \(number)", from: hot, table: 0, cost: records(10))
            queue.arrived("mild \(number)", from: mild, table: 0, cost: records(10))
            queue.arrived("cool \(number)", from: cool, table: 1, cost: records(10))
        }
        #expect(queue.laneFreed(limit: records(40)) == ["cool 0", "cool 1", "cool 2"])
        queue.arrived("cool 3", from: cool, table: 1, cost: records(10))
        #expect(queue.laneFreed(limit: records(40)) == ["mild 0", "hot 0", "mild 1", "hot 1"])
        #expect(queue.laneFreed(limit: records(40)) == ["cool 3"])
        #expect(queue.laneFreed(limit: records(40)) == ["mild 2", "hot 2"])
        #expect(queue.isEmpty == true)
    }

    /// What failed comes back in its order, before what arrived later, and the other table goes on meanwhile.
    @Test func aTableThatFailedRests() {
        var queue = LaneQueueMachine<String>()
        for number in 0..<2 {
            queue.arrived("hot \(number)", from: hot, table: 0, cost: records(10))
            queue.arrived("mild \(number)", from: mild, table: 0, cost: records(10))
        }
        let taken = queue.laneFreed(limit: records(100), now: 1)
        #expect(taken == ["mild 0", "hot 0", "mild 1", "hot 1"])
        var others = queue.holdsOther(than: 0, at: 1)
        #expect(!others)
        queue.arrived("cool 0", from: cool, table: 1, cost: records(10))
        queue.arrived("mild 2", from: mild, table: 0, cost: records(10))
        others = queue.holdsOther(than: 0, at: 1)
        #expect(others)
        queue.putBack(
            taken.map { ($0, $0.hasPrefix("hot") ? hot : mild, records(10)) }, of: 0, until: 100)
        #expect(queue.level == records(60) && queue.nextRestEnd == 100)
        others = queue.holdsOther(than: 1, at: 99)
        #expect(!others, "the other one rests")
        #expect(queue.laneFreed(limit: records(100), now: 50) == ["cool 0"])
        #expect(queue.laneFreed(limit: records(100), now: 99) == [], "the table still rests")
        #expect(queue.isEmpty == false)
        let again = queue.laneFreed(limit: records(100), now: 100)
        #expect(again.filter { $0.hasPrefix("mild") } == ["mild 0", "mild 1", "mild 2"])
        #expect(again.filter { $0.hasPrefix("hot") } == ["hot 0", "hot 1"])
        #expect(queue.isEmpty == true && queue.nextRestEnd == nil && queue.level == .zero)
    }

    @Test func randomArrivalsKeepTheirOrderAndAllAreServed() {
        let seed = testSeed("lane queue")
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            var queue = LaneQueueMachine<(source: TopicPartition, number: Int)>()
            var arrived: [TopicPartition: Int] = [:]
            var written: [TopicPartition: Int] = [:]
            var missed: [TopicPartition: Int] = [:]
            let sources = (0..<Int32.random(in: 1...6, using: &random)).map { TopicPartition("t", $0) }
            let tables = Int.random(in: 1...3, using: &random)
            func table(of source: TopicPartition) -> Int { Int(source.partition) % tables }
            for _ in 0..<400 {
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    let source = sources.randomElement(using: &random)!
                    let number = arrived[source, default: 0]
                    arrived[source] = number + 1
                    queue.arrived(
                        (source, number), from: source, table: table(of: source),
                        cost: records(Int.random(in: 1...120, using: &random)))
                }
                let waiting = sources.filter { arrived[$0, default: 0] > written[$0, default: 0] }
                let taken = queue.laneFreed(limit: records(Int.random(in: 1...300, using: &random)))
                #expect(taken.isEmpty == waiting.isEmpty)
                #expect(Set(taken.map { table(of: $0.source) }).count <= 1, "seed \(seed): two tables in one transaction")
                for (source, number) in taken {
                    #expect(number == written[source, default: 0], "seed \(seed): out of order")
                    written[source] = number + 1
                }
                for source in sources {
                    let hasWaited = waiting.contains(source) && !taken.contains { $0.source == source }
                    missed[source] = hasWaited ? missed[source, default: 0] + 1 : 0
                    #expect(missed[source]! < sources.count, "seed \(seed): \(source) is not served")
                }
            }
            while !queue.isEmpty { for (source, number) in queue.laneFreed(limit: records(100)) { written[source] = number + 1 } }
            #expect(written == arrived)
            #expect(queue.level == .zero)
        }
    }
}
