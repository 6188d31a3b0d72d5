// Coalescing against a model: what a run's net change makes of a row is what its events make of it one at a time.

import Records
import TestSupport
import Testing

@testable import Apply

/// A row as the model sees it: per column the event whose value it shows, −1 for the column's default, −2 − column for what was
/// there before; and whether its on_update columns have been set.
private struct ModelRow: Equatable {
    var cells: [Int]
    var setsOnUpdate = false
}

private struct ModelEvent {
    var operation: Records.Operation
    var absent: Set<Int>
}

private func step(_ row: ModelRow?, _ event: ModelEvent, at position: Int, columns: Int) -> ModelRow? {
    switch (event.operation, row) {
    case (.delete, _): return nil
    case (.create, .some), (.update, nil): return row
    case (.create, nil), (.upsert, nil):
        return ModelRow(cells: (0..<columns).map { event.absent.contains($0) ? -1 : position })
    case (.update, .some(var present)), (.upsert, .some(var present)):
        for column in 0..<columns where !event.absent.contains(column) { present.cells[column] = position }
        present.setsOnUpdate = true
        return present
    }
}

private func execute(_ net: NetChange, on row: ModelRow?, events: [ModelEvent], merged: [Int32], columns: Int) -> ModelRow? {
    func value(_ source: RowSource, _ column: Int) -> Int? {
        let position =
            switch source {
            case .event(let position): position
            case .merged(let row): Int(merged[row * columns + column])
            }
        return events[position].absent.contains(column) ? nil : position
    }
    var row = net.deletesFirst ? nil : row
    if var present = row {
        guard let update = net.update else { return row }
        for column in 0..<columns { present.cells[column] = value(update, column) ?? present.cells[column] }
        present.setsOnUpdate = true
        return present
    }
    if let insert = net.insert {
        row = ModelRow(cells: (0..<columns).map { value(insert, $0) ?? -1 }, setsOnUpdate: net.insertWasUpdated)
    }
    return row
}

private func check(_ events: [ModelEvent], columns: Int, mergesColumns: Bool) {
    var machine = CoalesceMachine(columns: columns, mergesColumns: mergesColumns)
    for (position, event) in events.enumerated() {
        machine.read(event.operation, at: position) { event.absent.contains($0) }
    }
    let net = machine.finish()
    for start in [nil, ModelRow(cells: (0..<columns).map { -2 - $0 })] {
        var expected = start
        for (position, event) in events.enumerated() { expected = step(expected, event, at: position, columns: columns) }
        let actual = execute(net, on: start, events: events, merged: Array(machine.mergedRows), columns: columns)
        #expect(actual == expected, "\(events) from \(String(describing: start)) coalesced to \(net)")
    }
}

@Suite struct CoalesceTests {
    @Test func everyStringOfUpToFiveOperations() {
        var strings: [[ModelEvent]] = [[]]
        for _ in 1...5 {
            strings = strings.flatMap { string in
                Operation.allCases.map { string + [ModelEvent(operation: $0, absent: [])] }
            }
            for string in strings { check(string, columns: 2, mergesColumns: false) }
        }
        #expect(strings.count == 1024)
    }

    @Test func everyStringOfUpToThreeOperationsWithAbsentCells() {
        let alphabet = Operation.allCases.flatMap { operation in
            [Set<Int>(), [0], [1], [0, 1]].map { ModelEvent(operation: operation, absent: $0) }
        }
        var strings: [[ModelEvent]] = [[]]
        for _ in 1...3 {
            strings = strings.flatMap { string in alphabet.map { string + [$0] } }
            for string in strings { check(string, columns: 2, mergesColumns: true) }
        }
        #expect(strings.count == 4096)
    }

    @Test func randomLongStrings() {
        var random = SeededRandom.printed("coalesce")
        for _ in 0..<2_000 {
            let events = (0..<Int.random(in: 1...30, using: &random)).map { _ in
                ModelEvent(
                    operation: Operation.allCases.randomElement(using: &random) ?? .create,
                    absent: Set((0..<4).filter { _ in Bool.random(using: &random) }))
            }
            check(events, columns: 4, mergesColumns: true)
        }
    }
}
