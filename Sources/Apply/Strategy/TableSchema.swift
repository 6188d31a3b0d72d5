// Holds what the catalog says about a table: the input of the choice of a write strategy.

import Postgres
import Records

/// A table's columns, triggers, constraints and indexes, as far as they decide how it may be written.
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

        /// Whether the column takes every value of a mapping's type.
        func takesEveryValue(of type: ColumnType) -> Bool { Self.wider[type.oid, default: []].contains(baseType) }

        /// Whether a key of a mapping's type can be looked up in the column, and keys that are equal in SQL are equal bytes.
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

    /// One enabled trigger of INSERT, UPDATE or DELETE that a user created.
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
        /// `ON CONFLICT` can name it for the mapping's key.
        var isKey = false
        /// It may refuse a value: it holds values of unbounded length, or is no B-tree.
        var canRefuse = false
    }

    /// The quoted, schema-qualified name.
    public var relation: String
    /// The kind of relation.
    public var kind = Kind.table
    var isInherited = false
    var hasRowSecurity = false
    /// It has constraints, or constraint triggers, that are INITIALLY DEFERRED.
    var hasDeferredChecks = false
    var hasGeneratedColumns: Bool { columns.values.contains(where: \.isGenerated) }
    var serverEncoding = "UTF8"
    var columns: [String: Column] = [:]
    var triggers: [Trigger] = []
    var rules: [String] = []
    var checks: [String] = []
    var foreignKeys: [ForeignKey] = []
    var indexes: [Index] = []

    /// Whether an inserted row's defaults set the `on_update` columns to what an update sets them to.
    func onUpdateEqualsDefault(_ shape: TableShape) -> Bool {
        shape.onUpdate.allSatisfy { onUpdate in
            guard let column = columns[onUpdate.column], let expression = column.defaultExpression else { return false }
            switch onUpdate.value {
            case .currentDate: return column.baseType == TypeOID.date && expression.uppercased() == "CURRENT_DATE"
            case .now:
                return column.baseType == TypeOID.timestamptz && ["CURRENT_TIMESTAMP", "NOW()"].contains(expression.uppercased())
            }
        }
    }

    /// Positions of mapped columns without which an INSERT is refused: NOT NULL and without a default.
    func requiredOnInsert(_ shape: TableShape) -> [Int] {
        shape.columns.indices.filter { index in
            columns[shape.columns[index].name].map { $0.isNotNull && !$0.hasDefault } ?? false
        }
    }

    /// Why the shape cannot be written to this table at all; `nil`: it can.
    func fault(_ shape: TableShape) -> ApplyError? {
        func fault(_ text: String) -> ApplyError { ApplyError(.configuration, "table \(relation): \(text)") }
        if shape.columns.isEmpty { return fault("the mapping names no column") }
        if shape.columns.lastIndex(where: \.isOptional) ?? 0 > 63 {
            return fault("only the first 64 columns may be optional; put the required ones last")
        }
        for mapped in shape.columns {
            guard let column = columns[mapped.name] else {
                return fault("column \(mapped.name) does not exist; correct the mapping or add a migration")
            }
            if column.isGenerated { return fault("column \(mapped.name) is generated; remove it from the mapping") }
        }
        for name in shape.onUpdate.map(\.column) {
            if columns[name] == nil { return fault("the on_update column \(name) does not exist") }
            if shape.columns.contains(where: { $0.name == name }) {
                return fault("column \(name) stands in both columns and on_update; keep one of the two")
            }
        }
        guard shape.mode == .upsert else { return nil }
        if shape.key.isEmpty { return fault("mode upsert needs a key") }
        for mapped in shape.key.map({ shape.columns[$0] }) {
            if let column = columns[mapped.name], !column.comparesWith(mapped.type) {
                return fault(
                    "key column \(mapped.name) cannot be looked up by a \(mapped.type.rawValue); give both the same type")
            }
            if mapped.isOptional || mapped.isNullable {
                return fault("key column \(mapped.name) may be neither optional nor nullable")
            }
        }
        if kind == .view { return fault("is a view; name the table that it reads") }
        if !indexes.contains(where: \.isKey) {
            let names = shape.key.map { shape.columns[$0].name }.joined(separator: ", ")
            return fault("no unique index on exactly (\(names)), immediate and without a condition; create one, or a primary key")
        }
        return nil
    }
}
