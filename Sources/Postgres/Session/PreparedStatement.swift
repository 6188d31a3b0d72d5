// Owns prepared statements, and the bounded cache of those that a connection has.

/// A statement and its parameter types. Each connection prepares it at its first use, and again where its cache has dropped it.
public struct PreparedStatement: Hashable, Sendable {
    /// The statement, with `$1`, `$2`, … for parameters.
    public let sql: String
    /// Types of the parameters (`pg_type.oid`); 0, or a list that is too short, lets the server infer them.
    public let types: [UInt32]

    /// A statement to prepare.
    public init(_ sql: String, types: [UInt32] = []) {
        self.sql = sql
        self.types = types
    }
}

/// Decides which prepared statements a connection keeps: the most recently used, up to a capacity.
struct StatementCacheMachine: ~Copyable {
    private struct Entry {
        let name: String
        var lastUse: UInt64
    }

    private let capacity: Int
    private var entries: [PreparedStatement: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0

    /// Names of statements that were dropped here and still exist in the server.
    private(set) var dropped: [String] = []

    init(capacity: Int) { self.capacity = max(1, capacity) }

    var count: Int { entries.count }

    /// The name under which the statement is prepared; `nil`: it is not.
    mutating func name(of statement: PreparedStatement) -> String? {
        uses += 1
        entries[statement]?.lastUse = uses
        return entries[statement]?.name
    }

    /// A name for a statement about to be prepared.
    mutating func newName() -> String {
        names += 1
        return "sluice_\(names)"
    }

    /// The server has prepared the statement.
    mutating func prepared(_ statement: PreparedStatement, as name: String) {
        if let entry = entries[statement] { dropped.append(entry.name) }
        if entries[statement] == nil, entries.count >= capacity,
            let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            dropped.append(oldest.value.name)
            entries[oldest.key] = nil
        }
        uses += 1
        entries[statement] = Entry(name: name, lastUse: uses)
    }

    /// The statement must be prepared again; `exists`: the server still has the old one.
    mutating func invalidated(_ statement: PreparedStatement, exists: Bool) {
        if let entry = entries.removeValue(forKey: statement), exists { dropped.append(entry.name) }
    }

    /// Removes and returns the names to deallocate.
    mutating func takeDropped() -> [String] {
        defer { dropped = [] }
        return dropped
    }
}
