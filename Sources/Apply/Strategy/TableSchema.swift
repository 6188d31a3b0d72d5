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
        /// As SQL writes it, without length or precision.
        var baseTypeName = ""
        var isDomain = false
        /// −1: no length or precision.
        var typeModifier: Int32 = -1
        var isNotNull = false
        var defaultExpression: String?
        var isGenerated = false
        var identity: Identity?
        /// Its default is the next number of a sequence of its own that does not begin anew at its end.
        var isNumbered = false
        var collationIsDeterministic = true

        var hasDefault: Bool { defaultExpression != nil }
        /// Its type is none of PostgreSQL's own (`FirstNormalObjectId`).
        var isOfExtension: Bool { baseType >= 16_384 }

        /// Whether the column takes every value that the mapping reads, within its ``limit(of:isKey:)``. What the server casts has been read
        /// as a text only, except for arrays.
        func takesEveryValue(of mapped: ColumnShape) -> Bool {
            if mapped.cast != nil || mapped.type == .interval { return false }
            // Of elements no limit is known.
            if mapped.isArray { return baseType == mapped.type.arrayOID && typeModifier < 0 }
            return Self.wider(mapped.type).contains(baseType) || limit(of: mapped, isKey: false) != nil
        }

        /// Whether a key of a mapping's type can be looked up in the column, and keys that are equal in SQL are equal bytes.
        func comparesWith(_ mapped: ColumnShape) -> Bool {
            guard mapped.type.isKey, !mapped.isArray, mapped.cast == nil else { return false }
            // A column with fewer digits of a second rounds the keys, and `character(n)` ignores spaces at their ends.
            if [.time, .timestamp, .timestamptz].contains(mapped.type), typeModifier >= 0 { return false }
            return takesEveryValue(of: mapped) && baseType != Self.char
        }

        static let varchar: UInt32 = 1043
        /// `character(n)`.
        static let char: UInt32 = 1042
        /// The types of columns that take every value of a type as it is.
        private static func wider(_ type: ColumnType) -> [UInt32] {
            switch type {
            case .int2: [TypeOID.int2, TypeOID.int4, TypeOID.int8]
            case .int4: [TypeOID.int4, TypeOID.int8]
            case .text: [TypeOID.text, varchar, char]
            case .float4: [ColumnType.float4.oid, ColumnType.float8.oid]
            default: [type.oid]
            }
        }
    }

    /// How an identity column takes values from outside.
    enum Identity: String {
        case always = "a", byDefault = "d"
    }

    /// One enabled trigger of INSERT, UPDATE or DELETE that a user created.
    public struct Trigger: Sendable, Equatable {
        var name: String
        /// FOR EACH ROW.
        var isRow = false
        var isBeforeRowInsert = false
        /// It runs for an UPDATE only if one of these columns is in the SET list (`UPDATE OF`); empty: for every UPDATE.
        var updateOf: [String] = []
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
        /// Unique on exactly the mapping's key, without a condition. It cannot make rows of different keys see each other.
        var isOnKey = false
        /// It has another collation than one of its columns, so that no condition on that column uses it.
        var hasOtherCollation = false
        /// It is over exactly the mapping's key, but has another collation than the column, and one of the two is nondeterministic: it
        /// takes other values for equal than the column.
        var hasOtherEquality = false
        /// `ON CONFLICT` can name it for the mapping's key: it is ``isOnKey``, valid and immediate.
        var isKey = false
        /// It may refuse a value: it holds values of unbounded length, or is no B-tree.
        var canRefuse = false
        /// Its columns without those that it includes; an expression is none.
        var columns: [String] = []
    }

    /// The quoted, schema-qualified name.
    public var relation: String
    /// The table's version in the catalog when the rest was read, or before; see `TableVersion`.
    public var version: Int64 = 0
    /// The kind of relation.
    public var kind = Kind.table
    /// It is a partition, or has a parent or children by INHERITS.
    var isInherited = false
    /// The role may read all columns, `ctid` included.
    var isReadable = true
    /// What partitions have and their partitioned table has not, such as `trigger x of partition y`.
    var ofPartitions: [String] = []
    /// Row-level security applies to the role of the session.
    var hasRowSecurity = false
    var isUnlogged = false
    /// It has constraints, or constraint triggers, that are INITIALLY DEFERRED.
    var hasDeferredChecks = false
    var hasGeneratedColumns: Bool { columns.values.contains(where: \.isGenerated) }
    var serverEncoding = "UTF8"
    /// The database takes every character.
    var isUnicode: Bool { serverEncoding == "UTF8" }
    /// The server knows MERGE, and libpq the number of its rows: PostgreSQL 15 and newer.
    var serverHasMerge = false
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

    /// Whether the index is over numbers that the server makes for each row: it cannot tell two events apart.
    func isSurrogateKey(_ index: Index, _ shape: TableShape) -> Bool {
        index.isUnique && !index.isPartialOrExpression && !index.columns.isEmpty
            && index.columns.allSatisfy { name in
                columns[name]?.isNumbered == true && !shape.columns.contains { $0.name == name }
                    && !shape.onUpdate.contains { $0.column == name }
            }
    }

    /// Whether an INSERT may take a number of a sequence of fewer than 64 bits, which one for each proposed row could use up.
    /// - Parameter isComplete: of a row that has all optional columns.
    func insertsUseShortSequence(_ shape: TableShape, isComplete: Bool = false) -> Bool {
        columns.contains { name, column in
            column.defaultExpression?.contains("nextval(") == true && column.baseType != TypeOID.int8
                && Self.mayBeLeftOut(name, shape, isComplete: isComplete)
        }
    }

    /// Whether an INSERT may lack a column that it needs: NOT NULL, without a default, and optional in the mapping or not in it.
    /// - Parameter isComplete: of a row that has all optional columns.
    func insertsMayLackColumns(_ shape: TableShape, isComplete: Bool = false) -> Bool {
        columns.contains { name, column in
            column.isNotNull && !column.hasDefault && !column.isGenerated
                && Self.mayBeLeftOut(name, shape, isComplete: isComplete)
        }
    }

    /// Positions in ``TableShape/columns`` of those that events may lack, where an INSERT without them may be refused: a row needs them, or
    /// their default may be longer than they are.
    func requiredOptionalColumns(_ shape: TableShape) -> [Int] {
        shape.columns.indices.filter { index in
            let mapped = shape.columns[index]
            guard mapped.isOptional, let column = columns[mapped.name] else { return false }
            guard let expression = column.defaultExpression else { return column.isNotNull }
            return column.limit(of: mapped, isKey: false).map { !$0.takes(default: expression) } ?? false
        }
    }

    /// Triggers `UPDATE OF` columns that an event may all leave out: they run only for events that have one of them. With the positions of
    /// these columns in ``TableShape/columns``.
    func optionalUpdateTriggers(_ shape: TableShape) -> [(name: String, columns: [Int])] {
        triggers.compactMap { trigger in
            // No UPDATE sets the key.
            let columns = shape.columns.indices.filter {
                trigger.updateOf.contains(shape.columns[$0].name) && !shape.key.contains($0)
                    && shape.columns[$0].policy.occasion != .insert
            }
            let isAlwaysSet =
                columns.contains { !shape.columns[$0].isOptional }
                || shape.onUpdate.contains { trigger.updateOf.contains($0.column) }
            return columns.isEmpty || isAlwaysSet ? nil : (trigger.name, columns)
        }
    }

    /// The groups of columns of ``optionalUpdateTriggers(_:)``. Four at most, for each doubles the UPDATE statements of the sequential
    /// function; further triggers run for every event.
    func updateGroups(_ shape: TableShape) -> [[Int]] {
        var groups: [[Int]] = []
        for (_, columns) in optionalUpdateTriggers(shape) where !groups.contains(columns) && groups.count < 4 {
            groups.append(columns)
        }
        return groups
    }

    /// Whether an INSERT may have no value for a column: it is optional in the mapping, for updates only, or not in it.
    static func mayBeLeftOut(_ name: String, _ shape: TableShape, isComplete: Bool = false) -> Bool {
        shape.columns.first { $0.name == name }.map { ($0.isOptional && !isComplete) || $0.policy.occasion == .update } ?? true
    }
}
