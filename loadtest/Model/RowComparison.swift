// Compares the rows of the table with the model, one row at a time in ascending order of their ids.

import Glibc

/// Compares the table's rows with the model.
struct RowComparison: ~Copyable {
    /// Rows that are only in the model.
    private(set) var missing = Findings("rows missing")
    /// Rows that are only in the table.
    private(set) var extra = Findings("rows that should not be there")
    /// Rows with another content.
    private(set) var different = Findings("rows with another content")
    /// Rows that agree.
    private(set) var agreeing = 0
    private let plan: EventPlan
    private var writer: EventWriter
    private var next = 0

    init(_ plan: EventPlan) {
        self.plan = plan
        writer = EventWriter(plan)
    }

    /// One row of the table, inside the run's range of ids.
    mutating func row(
        id: Int32, name: UnsafeRawBufferPointer, message: UnsafeRawBufferPointer, model: borrowing TableModel
    ) {
        guard let slot = plan.slot(id: Int64(id)).map(Int.init), slot >= next else {
            extra.add("message_id \(id) (out of range or order)")
            return
        }
        skip(to: slot, model)
        next = slot + 1
        let state = model[slot]
        if state.isUncertain { return }
        guard let index = state.writer else { return extra.add("message_id \(id)") }
        // One text at a time: both are written into the same memory.
        var wrong: [String] = []
        if !Self.equal(writer.name(slot: Int32(slot), index: index), name) { wrong.append("name") }
        if !Self.equal(writer.message(index: index), message) { wrong.append("message") }
        if wrong.isEmpty { agreeing += 1 } else { different.add("message_id \(id) (\(wrong.joined(separator: " and ")))") }
    }

    /// There are no more rows.
    mutating func finished(model: borrowing TableModel) { skip(to: model.keyCount, model) }

    /// What is wrong, by kind.
    var findings: [Findings] { [missing, extra, different].filter { $0.count > 0 } }

    private mutating func skip(to slot: Int, _ model: borrowing TableModel) {
        while next < slot {
            let state = model[next]
            if state.writer != nil, !state.isUncertain { missing.add("message_id \(plan.id(Int32(next)))") }
            next += 1
        }
    }

    private static func equal(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        a.count == b.count && (a.isEmpty || memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0)
    }
}
