// Feeds the comparisons tables that are right and tables that are wrong in one way each.

import Records
import Testing

@testable import sluice_loadtest

@Suite struct ComparisonTests {
    private let plan = EventPlan(seed: 9, keys: 20, firstID: 100, mix: Mix(create: 5, update: 3, delete: 2, upsert: 0))

    /// A row as the database would hand it over.
    struct Row {
        var id: Int32
        var name: [UInt8]
        var message: [UInt8]
    }

    private func filled() -> TableModel {
        var model = TableModel(keys: plan.keys)
        for index in 0..<100 {
            let event = plan.event(UInt64(index))
            model.applied(event.operation, slot: event.slot, index: event.index)
        }
        return model
    }

    private func rows(_ model: borrowing TableModel) -> [Row] {
        var writer = EventWriter(plan)
        var rows: [Row] = []
        for slot in 0..<plan.keys {
            guard let index = model[slot].writer else { continue }
            let name = [UInt8](writer.name(slot: Int32(slot), index: index))
            rows.append(Row(id: plan.id(Int32(slot)), name: name, message: [UInt8](writer.message(index: index))))
        }
        return rows
    }

    private func compare(_ rows: [Row], _ model: borrowing TableModel) -> (findings: [String], agreeing: Int) {
        var comparison = RowComparison(plan)
        for row in rows {
            row.name.withUnsafeBytes { name in
                row.message.withUnsafeBytes { comparison.row(id: row.id, name: name, message: $0, model: model) }
            }
        }
        comparison.finished(model: model)
        return (comparison.findings.map(\.line), comparison.agreeing)
    }

    @Test func aRightTableAgrees() {
        let model = filled()
        #expect(model.rowCount > 5)
        let result = compare(rows(model), model)
        #expect(result.findings == [])
        #expect(result.agreeing == model.rowCount)
    }

    @Test func aMissingRowIsNamed() {
        let model = filled()
        var table = rows(model)
        let first = table.removeFirst().id
        let last = table.removeLast().id
        #expect(compare(table, model).findings == ["2 rows missing: message_id \(first), message_id \(last)"])
    }

    @Test func anExtraRowIsNamed() throws {
        let model = filled()
        var table = rows(model)
        let absent = try #require((0..<plan.keys).first { model[$0].writer == nil })
        let id = plan.id(Int32(absent))
        table.append(Row(id: id, name: [1], message: [2]))
        table.sort { $0.id < $1.id }
        #expect(compare(table, model).findings == ["1 rows that should not be there: message_id \(id)"])
    }

    @Test func aChangedTextIsNamedButNotShown() {
        let model = filled()
        var table = rows(model)
        table[1].message[3] ^= 1
        table[2].name = []
        #expect(
            compare(table, model).findings == [
                "2 rows with another content: message_id \(table[1].id) (message), message_id \(table[2].id) (name)"
            ])
    }

    @Test func aRowThatComesTwiceIsExtra() {
        let model = filled()
        var table = rows(model)
        table.insert(table[0], at: 1)
        #expect(compare(table, model).findings.count == 1)
    }

    @Test func anUncertainKeyMayBeThereOrNot() {
        var model = filled()
        var table = rows(model)
        let id = table[0].id
        model.outcomeUnknown(slot: id - plan.firstID)
        #expect(compare(table, model).findings == [])
        table[0].message = []
        #expect(compare(table, model).findings == [])
        table.removeFirst()
        #expect(compare(table, model).findings == [])
    }

    @Test func onlyTheFirstTenAreNamed() {
        let model = filled()
        let result = compare([], model)
        #expect(result.findings.count == 1)
        #expect(result.findings[0].hasPrefix("\(model.rowCount) rows missing: "))
        #expect(result.findings[0].split(separator: "message_id ").count - 1 == min(10, model.rowCount))
    }

    @Test func captureCountsAreCompared() throws {
        let model = filled()
        func compare(_ change: (Int, inout CaptureCounts?) -> Void) -> [String] {
            var comparison = CaptureComparison(plan)
            for slot in 0..<plan.keys {
                var counts: CaptureCounts? = model[slot].captured.total > 0 ? model[slot].captured : nil
                change(slot, &counts)
                if let counts { comparison.key(id: plan.id(Int32(slot)), counts: counts, model: model) }
            }
            comparison.finished(model: model)
            return comparison.findings.map(\.line)
        }
        let some = try #require((0..<plan.keys).first { model[$0].captured.updates > 0 })
        #expect(compare { _, _ in } == [])
        #expect(compare { if $0 == some { $1?.updates += 1 } }.count == 1)
        #expect(compare { if $0 == some { $1 = nil } }.count == 1)
    }

    @Test func deadLettersAreComparedByTheirCoordinates() {
        let expected = [(1, 5), (0, 9), (0, 3)].map { Coordinate(partition: $0.0, offset: $0.1) }
        func compare(_ found: [(Int32, Int64)]) -> [String] {
            var comparison = DeadLetterComparison(expected: expected)
            for (partition, offset) in found { comparison.deadLetter(Coordinate(partition: partition, offset: offset)) }
            comparison.finished()
            return comparison.findings.map(\.line)
        }
        #expect(compare([(0, 3), (0, 9), (1, 5)]) == [])
        #expect(compare([(0, 3), (1, 5)]) == ["1 dead letters missing: 0@9"])
        #expect(compare([(0, 3), (0, 9), (1, 5), (2, 0)]) == ["1 dead letters that should not be there: 2@0"])
        #expect(compare([(0, 1), (1, 5)]).count == 2)
        #expect(compare([]) == ["3 dead letters missing: 0@3, 0@9, 1@5"])
    }
}
