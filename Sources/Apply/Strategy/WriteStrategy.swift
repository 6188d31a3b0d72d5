// Owns the choice of a table's write strategy.

public import Records

/// How the events of a transaction reach the table. The table is the same as after applying them one at a time; the strategies differ in
/// which intermediate rows triggers and constraints see, so the catalog decides which are allowed.
public enum WriteStrategy: String, Sendable, CaseIterable {
    /// One net change a key: its events are composed, and the results written by one statement for each kind of change. The fastest; for
    /// tables where no trigger, constraint or index can see or refuse an intermediate row.
    case coalesce
    /// Every event is written: round n has the n-th event of every key, one statement for each operation. For tables where triggers and
    /// constraints judge each row by itself, and where triggers run once a statement.
    case rounds
    /// Every event is written strictly after the one before it, by a function in the server. For tables where rows of different keys
    /// depend on each other: a second unique index, an exclusion constraint, a foreign key to the table itself, a row trigger that is not
    /// declared local to its row.
    case sequential
}

/// A chosen strategy and its reasons.
public struct StrategyChoice: Sendable, Equatable {
    /// The strategy.
    public let strategy: WriteStrategy
    /// Why not a faster one, with the names of the catalog. Where the strategy is forced: why not this one.
    public let reasons: [String]
    /// The mapping names the strategy, and the ``reasons`` are against it.
    public let isForced: Bool
}

extension TableSchema {
    /// Chooses the strategy that the mapping names, or the fastest that the catalog allows. Pure.
    public func chooseStrategy(for shape: TableShape) -> StrategyChoice {
        let forSequential = reasonsForSequential(shape)
        let againstCoalesce = reasonsAgainstCoalescing(shape)
        let allowed: WriteStrategy =
            !forSequential.isEmpty ? .sequential : againstCoalesce.isEmpty ? .coalesce : .rounds
        switch shape.write.strategy {
        case .coalesce where shape.mode != .append && !shape.hasPolicies && !shape.hasPartialVersions:
            return StrategyChoice(
                strategy: .coalesce, reasons: forSequential + againstCoalesce, isForced: allowed != .coalesce)
        case .rounds:
            let reasons = forSequential.isEmpty ? ["the mapping says write: rounds"] : forSequential
            return StrategyChoice(strategy: .rounds, reasons: reasons, isForced: allowed == .sequential)
        case .sequential:
            return StrategyChoice(strategy: .sequential, reasons: ["the mapping says write: sequential"], isForced: false)
        // Net changes of appended rows, or of updates with policies, are not computed.
        case .auto, .coalesce:
            return StrategyChoice(
                strategy: allowed, reasons: allowed == .sequential ? forSequential : againstCoalesce, isForced: false)
        }
    }

    /// Why rows of different keys may depend on each other, or a set statement may do what single events would not.
    private func reasonsForSequential(_ shape: TableShape) -> [String] {
        var reasons: [String] = []
        if kind == .foreign { reasons.append("\(relation) is a \(kind.rawValue)") }
        if isInherited { reasons.append("\(relation) has a parent or children") }
        reasons += ofPartitions
        reasons += rules.map { "rule \($0)" }
        reasons += foreignKeys.filter(\.isSelfReferencing).map { "foreign key \($0.name) references its own table" }
        if shape.write.triggers == .unknown {
            reasons += triggers.filter(\.isRow).map { "row trigger \($0.name) may read or write other rows" }
        }
        for column in shape.key.map({ shape.columns[$0].name })
        where shape.mode != .append && columns[column]?.collationIsDeterministic == false {
            reasons.append("key column \(column) has a nondeterministic collation")
        }
        // Rows that are only inserted cannot remove each other's conflicts: a set statement fails if and only if one row is refused.
        guard shape.mode == .upsert else { return reasons }
        // A set statement names all columns for all of its rows.
        reasons += optionalUpdateTriggers(shape).map { "trigger \($0.name) is UPDATE OF columns that events may leave out" }
        reasons += indexes.filter { $0.isUnique && !$0.isOnKey && !isSurrogateKey($0, shape) }.map {
            "unique index \($0.name) besides the key"
        }
        reasons += indexes.filter(\.isExclusion).map { "exclusion constraint \($0.name)" }
        return reasons
    }

    /// What could see or refuse an intermediate row that coalescing leaves out.
    private func reasonsAgainstCoalescing(_ shape: TableShape) -> [String] {
        var reasons: [String] = []
        if shape.mode == .append { reasons.append("every event of mode append is a row") }
        if shape.hasPolicies { reasons.append("the mapping says how updates and deletes are written") }
        if shape.hasPartialVersions { reasons.append("the mapping has a version, and columns that events may lack") }
        if shape.version != nil, !onUpdateEqualsDefault(shape) {
            // Whether the row that the newest event finds was inserted by an older one, depends on what the key had before.
            reasons.append("the mapping has a version, and on_update columns with other defaults")
        }
        if !isUnicode { reasons.append("the database's encoding is \(serverEncoding)") }
        reasons += triggers.map { "trigger \($0.name)" }
        reasons += checks.map { "check \($0)" }
        reasons += foreignKeys.map { "foreign key \($0.name)\($0.isIncoming ? " references it" : "")" }
        reasons += indexes.filter { !$0.isKey && $0.isPartialOrExpression }.map { "partial or expression index \($0.name)" }
        reasons += indexes.filter { !$0.isKey && !$0.isUnique && !$0.isExclusion && !$0.isPartialOrExpression && $0.canRefuse }
            .map { "index \($0.name) can refuse a long value" }
        if hasGeneratedColumns { reasons.append("generated columns") }
        reasons += columns.filter(\.value.isDomain).map { "column \($0.key) has a domain" }.sorted()
        for column in shape.columns {
            guard let found = columns[column.name] else { continue }
            if !found.takesEveryValue(of: column) {
                reasons.append("column \(column.name) may refuse a \(column.cast ?? column.typeName)")
            }
            if found.isNotNull, column.isNullable {
                reasons.append("column \(column.name) is NOT NULL, its event field may be null")
            }
        }
        for (name, column) in columns.sorted(by: { $0.key < $1.key })
        where column.isNotNull && !column.hasDefault && !shape.columns.contains(where: { $0.name == name }) {
            reasons.append("column \(name) is NOT NULL without a default and not in the mapping")
        }
        return reasons
    }
}
