// Sorting by key, slices of batches, and what becomes of a record's coordinates.

import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply

private let pairs = TableShape(
    name: "pairs",
    columns: [ColumnShape(name: "k", type: .text), ColumnShape(name: "n", type: .int4), ColumnShape(name: "v", type: .text)],
    key: [0, 1])

@Suite struct SequenceTests {
    @Test func radixSortIsStableAndSorts() {
        var random = SeededRandom.printed("radix")
        for _ in 0..<300 {
            let mask: UInt64 = [0xFF, 0xFFFF_FFFF, .max, 0xFF00_0000_0000_00FF, 7][Int(random.next() % 5)]
            let prefixes = (0..<Int.random(in: 0...600, using: &random)).map { _ in random.next() & mask }
            var sorter = KeySorter(capacity: prefixes.count)
            for (index, prefix) in prefixes.enumerated() { sorter.append(prefix: prefix, position: UInt32(index)) }
            sorter.sort()
            let sorted = sorter.withEntries { $0.map { Int($0.position) } }
            #expect(sorted == prefixes.indices.sorted { (prefixes[$0], $0) < (prefixes[$1], $1) })
        }
    }

    @Test func eventsOfAKeyAreNeighboursInOrder() {
        var random = SeededRandom.printed("runs")
        for _ in 0..<100 {
            var keys: [String] = []
            let slices = (0..<3).map { partition in
                let records = (0..<30).map { _ -> TestRecord in
                    let (text, number) = ("a long key \(random.next() % 4)", Int32(random.next() % 3))
                    keys.append("\(text) \(number)")
                    return .event(.upsert, [.text(text), .int(number), .text("v")])
                }
                return BatchSlice(changeBatch(TopicPartition("t", Int32(partition)), from: 0, records, shape: pairs))
            }
            let sequence = EventSequence(slices, shape: pairs)
            let runs = sequence.sortByKey()
            #expect(runs.count == Set(keys).count)
            for run in 0..<runs.count {
                let positions = runs.positions[runs[run]].map(Int.init)
                #expect(positions == positions.sorted())
                #expect(Set(positions.map { keys[$0] }).count == 1)
            }
        }
    }

    @Test func aPrefixOfAKeyIsAnotherKey() {
        let records = ["12345678", "123456789", "12345678"].map { TestRecord.event(.upsert, [.text($0), .int(1), .null]) }
        let sequence = EventSequence(
            [BatchSlice(changeBatch(TopicPartition("t", 0), from: 0, records, shape: pairs))], shape: pairs)
        #expect(Array(sequence.sortByKey().starts) == [0, 2, 3])
        #expect(sequence.longestKey() == 13)
    }

    @Test func halvesKeepOrderAndLoseNothing() throws {
        let records: [TestRecord] = (0..<7).map { index in
            index == 2 ? .fault("x") : index == 4 ? .nothing : .event(.upsert, [.text("k\(index)"), .int(0), .null])
        }
        let source = TopicPartition("t", 0)
        var lists = [
            [
                BatchSlice(changeBatch(source, from: 0, records, shape: pairs)),
                BatchSlice(changeBatch(source, from: 100, records, shape: pairs)),
            ]
        ]
        while let (index, halves) = lists.indices.lazy.compactMap({ i in BatchSlice.halve(lists[i]).map { (i, $0) } }).first {
            lists.replaceSubrange(index...index, with: [halves.0, halves.1])
        }
        #expect(lists.count == 14)
        let offsets = lists.map { $0.map { $0.nextOffset ?? -1 } }
        #expect(offsets == [1, 3, 5, 7, 9, 11, 13].map { [$0] } + [101, 103, 105, 107, 109, 111, 113].map { [$0] })
        #expect(lists.map { $0[0].changes.count } == [1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1])
        #expect(lists.map { $0[0].faults.count } == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
        #expect(BatchSlice.halve(lists[0]) == nil)
    }
}
