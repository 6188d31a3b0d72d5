// Owns the choice of how a table's events may be written: what the catalogue allows without anybody being able to tell.

public import Records

/// How the events of a transaction reach the table. All three give what applying them one at a time gives.
public enum WriteStrategy: String, Sendable, CaseIterable {
    /// A key's events are folded to their net change: nothing can see or refuse the rows in between.
    case coalesce
    /// Every event is written; round r holds the r-th event of each key, one statement an operation.
    case rounds
    /// Events are written strictly in sequence: rows of different keys can see each other.
    case sequential
}

/// The configuration key `apply.coalesce`.
public enum CoalesceSetting: String, Sendable, CaseIterable {
    /// Fold where the catalogue says that nobody can tell.
    case auto
    /// Fold always. Who sets it takes over the proof that nobody can tell.
    case always = "true"
    /// Never fold.
    case never = "false"
}

/// A chosen strategy and, for the log, why.
public struct StrategyChoice: Sendable, Equatable {
    /// The strategy.
    public let strategy: WriteStrategy
    /// Why not a faster one: one entry a finding, in the catalogue's own names. Empty for an unforced fold.
    public let reasons: [String]
    /// Folding was forced although ``reasons`` speak against it: to be said loudly.
    public let isForced: Bool
}

extension TableSchema {
    /// Decides from what the catalogue says. Pure.
    public func chooseStrategy(for shape: TableShape, coalesce: CoalesceSetting) -> StrategyChoice {
        let ordering = reasonsForSequential(shape)
        let writing = reasonsAgainstCoalescing(shape)
        switch coalesce {
        case .always where shape.mode == .upsert:
            return StrategyChoice(strategy: .coalesce, reasons: ordering + writing, isForced: !(ordering + writing).isEmpty)
        case .auto where ordering.isEmpty && writing.isEmpty && shape.mode == .upsert:
            return StrategyChoice(strategy: .coalesce, reasons: [], isForced: false)
        case .auto, .always, .never:
            if !ordering.isEmpty {
                return StrategyChoice(strategy: .sequential, reasons: ordering, isForced: false)
            }
            let reasons = coalesce == .never ? ["apply.coalesce is false"] + writing : writing
            return StrategyChoice(strategy: .rounds, reasons: reasons, isForced: false)
        }
    }

    /// Why rows of different keys may see each other, or a set statement may do what single events would not.
    private func reasonsForSequential(_ shape: TableShape) -> [String] {
        var reasons: [String] = []
        if kind != .table { reasons.append("\(relation) is a \(kind.rawValue)") }
        if isInherited { reasons.append("\(relation) has a parent or children") }
        if hasRowSecurity { reasons.append("row security is enabled") }
        reasons += rules.map { "rule \($0)" }
        reasons += foreignKeys.filter(\.isSelfReferencing).map { "foreign key \($0.name) references its own table" }
        // Rows that are only inserted cannot make room for each other: a set statement refuses if and only if one row is refused.
        guard shape.mode == .upsert else { return reasons }
        reasons += indexes.filter { $0.isUnique && !$0.isKey }.map { "unique index \($0.name) besides the key" }
        reasons += indexes.filter(\.isExclusion).map { "exclusion constraint \($0.name)" }
        reasons += triggers.filter(\.isBeforeRowInsert).map { "trigger \($0.name) runs before each row's INSERT" }
        for column in shape.key.map({ shape.columns[$0].name }) where columns[column]?.collationIsDeterministic == false {
            reasons.append("key column \(column) has a nondeterministic collation")
        }
        return reasons
    }

    /// Why somebody could see or refuse a row that folding leaves out.
    private func reasonsAgainstCoalescing(_ shape: TableShape) -> [String] {
        var reasons: [String] = []
        if shape.mode == .append { reasons.append("every event of mode append is a row") }
        if serverEncoding != "UTF8" { reasons.append("the database's encoding is \(serverEncoding)") }
        reasons += triggers.map { "trigger \($0.name)" }
        reasons += checks.map { "check \($0)" }
        reasons += foreignKeys.map { "foreign key \($0.name)\($0.isIncoming ? " references it" : "")" }
        reasons += indexes.filter { !$0.isKey && $0.isPartialOrExpression }.map { "partial or expression index \($0.name)" }
        reasons += indexes.filter { !$0.isKey && !$0.isUnique && !$0.isExclusion && !$0.isPartialOrExpression && $0.canRefuse }
            .map { "index \($0.name) can refuse a long value" }
        if hasGeneratedColumns { reasons.append("generated columns") }
        reasons += columns.filter(\.value.isDomain).map { "column \($0.key) has a domain" }.sorted()
        for column in shape.columns {
            guard let facts = columns[column.name] else { continue }
            if facts.typeModifier >= 0 { reasons.append("column \(column.name) has a length or precision") }
            if !facts.takesEveryValue(of: column.type) {
                reasons.append("column \(column.name) may refuse a \(column.type.rawValue)")
            }
            if facts.isNotNull, column.isNullable {
                reasons.append("column \(column.name) is NOT NULL, its event field may be null")
            }
            if facts.isNotNull, !facts.hasDefault, column.isOptional {
                reasons.append("column \(column.name) is NOT NULL without a default, its event field may be absent")
            }
        }
        for (name, facts) in columns.sorted(by: { $0.key < $1.key })
        where facts.isNotNull && !facts.hasDefault && !shape.columns.contains(where: { $0.name == name }) {
            reasons.append("column \(name) is NOT NULL without a default and not in the mapping")
        }
        return reasons
    }
}
