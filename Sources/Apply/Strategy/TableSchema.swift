// Owns what has to be known about a table before its events may be regrouped.

import Postgres
import Records

/// What the catalogue says about a table.
public struct TableSchema: Sendable, Equatable {
    /// Kinds of relation rows can be written to.
    public enum Kind: String, Sendable {
        case table, partitioned = "partitioned table", foreign = "foreign table", view
    }

    /// One column.
    public struct Column: Sendable, Equatable {
        var baseType: UInt32
        var isDomain = false
        /// −1: no length or precision.
        var typeModifier: Int32 = -1
        var isNotNull = false
        var defaultExpression: String?
        var isGenerated = false
        var isIdentity = false
        var collationIsDeterministic = true

        var hasDefault: Bool { defaultExpression != nil || isIdentity }

        /// Whether every value of a mapping's type fits.
        func takesEveryValue(of type: ColumnType) -> Bool { Self.wider[type.oid, default: []].contains(baseType) }

        /// Base types that a key of a mapping's type can be compared with, such that equal keys are equal bytes.
        func comparesWith(_ type: ColumnType) -> Bool {
            let integers: [UInt32] = [TypeOID.int2, TypeOID.int4, TypeOID.int8]
            return takesEveryValue(of: type) || (integers.contains(type.oid) && integers.contains(baseType))
        }

        private static let varchar: UInt32 = 1043
        private static let wider: [UInt32: [UInt32]] = [
            TypeOID.int2: [TypeOID.int2, TypeOID.int4, TypeOID.int8],
            TypeOID.int4: [TypeOID.int4, TypeOID.int8],
            TypeOID.int8: [TypeOID.int8],
            TypeOID.text: [TypeOID.text, varchar],
            TypeOID.date: [TypeOID.date],
            TypeOID.timestamptz: [TypeOID.timestamptz],
        ]
    }

    /// One enabled trigger for rows, not one of PostgreSQL's own.
    public struct Trigger: Sendable, Equatable {
        var name: String
        var isBeforeRowInsert = false
    }

    /// One foreign key, from the table or to it.
    public struct ForeignKey: Sendable, Equatable {
        var name: String
        var isIncoming = false
        var isSelfReferencing = false
    }

    /// One index.
    public struct Index: Sendable, Equatable {
        var name: String
        var isUnique = false
        var isExclusion = false
        var isPartialOrExpression = false
        /// It can be `ON CONFLICT`'s arbiter for the mapping's key.
        var isKey = false
        /// It holds values without a bound on their length, or is of a kind that has opinions of its own.
        var canRefuse = false
    }

    /// The quoted, schema-qualified name.
    public var relation: String
    /// What it is.
    public var kind = Kind.table
    var isInherited = false
    var hasRowSecurity = false
    /// Constraints, or constraint triggers, that wait for COMMIT unless told otherwise.
    var hasDeferredChecks = false
    var hasGeneratedColumns: Bool { columns.values.contains(where: \.isGenerated) }
    var serverEncoding = "UTF8"
    var columns: [String: Column] = [:]
    var triggers: [Trigger] = []
    var rules: [String] = []
    var checks: [String] = []
    var foreignKeys: [ForeignKey] = []
    var indexes: [Index] = []

    /// Whether the columns that events touch on a present row get the same value when the row is inserted.
    func touchEqualsDefault(_ shape: TableShape) -> Bool {
        shape.onUpdate.allSatisfy { touch in
            guard let facts = columns[touch.column], let expression = facts.defaultExpression else { return false }
            switch touch.value {
            case .currentDate: return facts.baseType == TypeOID.date && expression.uppercased() == "CURRENT_DATE"
            case .now:
                return facts.baseType == TypeOID.timestamptz && ["CURRENT_TIMESTAMP", "NOW()"].contains(expression.uppercased())
            }
        }
    }

    /// Positions of mapped columns that an inserted row cannot do without.
    func requiredOnInsert(_ shape: TableShape) -> [Int] {
        shape.columns.indices.filter { index in
            columns[shape.columns[index].name].map { $0.isNotNull && !$0.hasDefault } ?? false
        }
    }

    /// What stands in the way of writing the shape at all; `nil`: nothing.
    func fault(_ shape: TableShape) -> ApplyError? {
        func fault(_ text: String) -> ApplyError { ApplyError(.configuration, "table \(relation): \(text)") }
        if shape.columns.isEmpty { return fault("the mapping names no column") }
        if shape.columns.lastIndex(where: \.isOptional) ?? 0 > 63 {
            return fault("only the first 64 columns may be optional; put the required ones last")
        }
        for column in shape.columns {
            guard let facts = columns[column.name] else {
                return fault("column \(column.name) does not exist; correct the mapping or add a migration")
            }
            if facts.isGenerated { return fault("column \(column.name) is generated; take it out of the mapping") }
        }
        for touch in shape.onUpdate {
            if columns[touch.column] == nil { return fault("column \(touch.column), to be touched, does not exist") }
            if shape.columns.contains(where: { $0.name == touch.column }) {
                return fault("column \(touch.column) is both touched and filled from events; keep one of the two")
            }
        }
        guard shape.mode == .upsert else { return nil }
        if shape.key.isEmpty { return fault("mode upsert needs a key") }
        for column in shape.key.map({ shape.columns[$0] }) {
            guard let facts = columns[column.name] else { continue }
            if !facts.comparesWith(column.type) {
                return fault(
                    "key column \(column.name) cannot be looked up by a \(column.type.rawValue); give both the same type"
                )
            }
            if column.isOptional || column.isNullable {
                return fault("key column \(column.name) may be neither optional nor nullable")
            }
        }
        if kind != .view, !indexes.contains(where: \.isKey) {
            let names = shape.key.map { shape.columns[$0].name }.joined(separator: ", ")
            return fault("no unique index on exactly (\(names)), immediate and without a condition; create one, or a primary key")
        }
        if kind == .view { return fault("is a view; name the table behind it") }
        return nil
    }
}
