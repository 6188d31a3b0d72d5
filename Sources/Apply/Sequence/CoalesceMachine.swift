// Owns coalescing: the one net change that a key's run of events amounts to, whether its row exists or not.

import Records

/// Where the cells of a coalesced row come from.
enum RowSource: Equatable {
    /// All from one event, absent cells included.
    case event(Int)
    /// Column by column from several: a row of ``CoalesceMachine/mergedRows``.
    case merged(Int)
}

/// The net change of a run, in this order: delete the row if it exists; update it if it exists; insert it if it does not. It gives what
/// the events one at a time give.
struct NetChange: Equatable {
    var deletesFirst = false
    var update: RowSource?
    var insert: RowSource?
    /// The inserted row has been updated within the run, so its `on_update` columns are set and do not get their defaults.
    var insertWasUpdated = false
}

/// Composes the events of one key, each a function on {absent, present row}, separately for both cases. Pure.
///
/// After a Delete both cases are the same, so the events before it do not count.
struct CoalesceMachine: ~Copyable {
    private let columns: Int
    private let mergesColumns: Bool
    private var net = NetChange()
    private var updateRow: ContiguousArray<Int32>
    private var insertRow: ContiguousArray<Int32>
    /// For each merged row and column the position of the event that has the value.
    private(set) var mergedRows: ContiguousArray<Int32> = []

    /// - Parameters:
    ///   - columns: cells an event has.
    ///   - mergesColumns: cells may be absent, so a later event need not hide an earlier one.
    init(columns: Int, mergesColumns: Bool) {
        self.columns = columns
        self.mergesColumns = mergesColumns
        updateRow = ContiguousArray(repeating: -1, count: columns)
        insertRow = updateRow
    }

    /// The next event of the run has been read. `isAbsent` answers for that event's cell in a column.
    @inline(__always)
    mutating func read(_ operation: Operation, at position: Int, isAbsent: (Int) -> Bool) {
        switch operation {
        case .delete:
            net = NetChange(deletesFirst: true)
        case .create:
            if net.insert == nil { startInsert(position) }
        case .update:
            if net.insert != nil { mergeInsert(position, isAbsent) }
            if !net.deletesFirst { mergeUpdate(position, isAbsent) }
        case .upsert:
            if net.insert == nil { startInsert(position) } else { mergeInsert(position, isAbsent) }
            if !net.deletesFirst { mergeUpdate(position, isAbsent) }
        }
    }

    /// The run has ended. The machine is ready for the next one.
    @inline(__always)
    mutating func finish() -> NetChange {
        defer { net = NetChange() }
        guard mergesColumns else { return net }
        if case .merged = net.update { net.update = .merged(store(updateRow)) }
        if case .merged = net.insert {
            if case .merged(let row) = net.update, insertRow == updateRow {
                net.insert = .merged(row)
            } else {
                net.insert = .merged(store(insertRow))
            }
        }
        return net
    }

    private mutating func startInsert(_ position: Int) {
        net.insert = .event(position)
        net.insertWasUpdated = false
    }

    private mutating func mergeInsert(_ position: Int, _ isAbsent: (Int) -> Bool) {
        net.insert = Self.merge(&insertRow, net.insert, position, mergesColumns, isAbsent)
        net.insertWasUpdated = true
    }

    private mutating func mergeUpdate(_ position: Int, _ isAbsent: (Int) -> Bool) {
        net.update = Self.merge(&updateRow, net.update, position, mergesColumns, isAbsent)
    }

    /// Overwrites a row's cells with those that an event has. The first merge of a run begins with all cells of its first event.
    private static func merge(
        _ row: inout ContiguousArray<Int32>, _ current: RowSource?, _ position: Int, _ mergesColumns: Bool,
        _ isAbsent: (Int) -> Bool
    ) -> RowSource {
        guard mergesColumns, let current else { return .event(position) }
        if case .event(let first) = current {
            for column in row.indices { row[column] = Int32(first) }
        }
        for column in row.indices where !isAbsent(column) { row[column] = Int32(position) }
        return .merged(0)
    }

    private mutating func store(_ row: ContiguousArray<Int32>) -> Int {
        mergedRows.append(contentsOf: row)
        return mergedRows.count / columns - 1
    }
}
