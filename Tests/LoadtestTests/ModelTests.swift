// Compares the model with a table kept the naive way, and the comparisons with tables that were tampered with.

import Records
import Testing

@testable import sluice_loadtest

@Suite struct ModelTests {
    /// A table with its capture as one would write it down without thinking about speed.
    struct NaiveTable {
        var rows: [Int32: UInt64] = [:]
        var capture: [Int32: [String]] = [:]

        mutating func apply(_ operation: Records.Operation, _ slot: Int32, _ index: UInt64) {
            let isPresent = rows[slot] != nil
            if operation == .delete {
                if rows.removeValue(forKey: slot) != nil { capture[slot, default: []].append("DELETE") }
            } else if isPresent ? operation != .create : operation != .update {
                rows[slot] = index
                capture[slot, default: []].append(isPresent ? "UPDATE" : "INSERT")
            }
        }
    }

    @Test func theModelEqualsANaiveTable() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("model test, seed \(seed)")
        let plan = EventPlan(seed: seed, keys: 40, skew: 0.7, mix: Mix(create: 3, update: 3, delete: 2, upsert: 2))
        var model = TableModel(keys: plan.keys)
        var naive = NaiveTable()
        for index in 0..<5000 {
            let event = plan.event(UInt64(index))
            model.applied(event.operation, slot: event.slot, index: event.index)
            naive.apply(event.operation, event.slot, event.index)
        }
        for slot in 0..<plan.keys {
            let state = model[slot]
            let capture = naive.capture[Int32(slot)] ?? []
            #expect(state.writer == naive.rows[Int32(slot)])
            #expect(Int(state.captured.inserts) == capture.filter { $0 == "INSERT" }.count)
            #expect(Int(state.captured.updates) == capture.filter { $0 == "UPDATE" }.count)
            #expect(Int(state.captured.deletes) == capture.filter { $0 == "DELETE" }.count)
        }
        #expect(model.rowCount == naive.rows.count)
        #expect(model.captureCount == naive.capture.values.map(\.count).reduce(0, +))
        #expect(model.eventCount == 5000)
    }

    @Test func anUncertainKeyIsTakenOutOfAllTotals() {
        var model = TableModel(keys: 3)
        model.applied(.create, slot: 0, index: 0)
        model.applied(.create, slot: 1, index: 1)
        model.applied(.update, slot: 1, index: 2)
        #expect(model.rowCount == 2 && model.captureCount == 3)
        model.outcomeUnknown(slot: 1)
        model.outcomeUnknown(slot: 1)
        model.applied(.delete, slot: 1, index: 3)
        #expect(model.rowCount == 1 && model.captureCount == 1 && model.uncertainCount == 1)
    }

    @Test func theFatesOfEventsAreCounted() {
        var state = RunState(model: TableModel(keys: 5))
        func event(_ index: UInt64, _ slot: Int32, _ flaw: Flaw? = nil) -> PlannedEvent {
            PlannedEvent(index: index, slot: slot, operation: .create, flaw: flaw)
        }
        state.settle(event(0, 0), .acknowledged(Coordinate(partition: 2, offset: 10)))
        state.settle(event(1, 1), .acknowledged(Coordinate(partition: 2, offset: 11)))
        state.settle(event(2, 2, .truncated), .acknowledged(Coordinate(partition: 0, offset: 5)))
        state.settle(event(3, 3), .unknown)
        state.settle(event(4, 4), .failed)
        state.settle(event(5, 4, .truncated), .refused)
        state.settle(event(6, 4, .truncated), .unknown)
        state.settle(event(7, 4, .truncated), .acknowledged(nil))
        state.settle(event(8, 4), .limited)
        state.settle(event(9, 4), .shed)
        #expect(state.counts.acknowledged == 2 && state.counts.bad == 2 && state.counts.badAccepted == 1)
        #expect(state.counts.unknown == 2 && state.counts.failed == 1 && state.counts.limited == 1 && state.counts.shed == 1)
        #expect(state.counts.settled == 10 && state.counts.errors == 4)
        #expect(state.written == [WrittenRange(first: 5, next: 6), nil, WrittenRange(first: 10, next: 12)])
        #expect(state.badCoordinates == [Coordinate(partition: 0, offset: 5)] && state.badUnknown == 1)
        #expect(state.model.rowCount == 2 && state.model.uncertainCount == 1)
        #expect(state.disorder.count == 0)
        state.settle(event(10, 1), .acknowledged(Coordinate(partition: 2, offset: 11)))
        #expect(state.disorder.count == 1, "an offset acknowledged twice is an error")
    }
}
