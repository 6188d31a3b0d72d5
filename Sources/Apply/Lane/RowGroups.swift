// Owns the grouping of rows by statement, in key order.

/// Rows by statement. A row is the position of an event; the complement of a number is that merged row (``CoalesceMachine/mergedRows``).
struct RowGroups {
    private(set) var keys: [StatementKey] = []
    private(set) var rows: [ContiguousArray<Int32>] = []
    private var indices: [StatementKey: Int] = [:]
    private var last = -1
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    @inline(__always)
    mutating func append(_ row: Int32, to key: StatementKey) {
        if last < 0 || keys[last] != key { last = index(of: key) }
        rows[last].append(row)
    }

    private mutating func index(of key: StatementKey) -> Int {
        if let known = indices[key] { return known }
        indices[key] = keys.count
        keys.append(key)
        rows.append([])
        rows[keys.count - 1].reserveCapacity(keys.count == 1 ? capacity : 64)
        return keys.count - 1
    }

    /// Groups in order of execution: deletes, updates, inserts (``StatementKind``).
    var inExecutionOrder: [Int] {
        keys.indices.sorted { (keys[$0].kind.rawValue, $0) < (keys[$1].kind.rawValue, $1) }
    }
}
