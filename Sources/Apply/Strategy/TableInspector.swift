// Reads a table's schema from the catalog.

internal import Platform
public import Postgres
public import Records
import SluiceTables

/// Reads ``TableSchema``: when partitions are claimed, and when the table has changed.
public enum TableInspector {
    /// Reads what the catalog says about the mapping's table.
    /// - Parameter hasOwnTables: Sluice's own tables and functions exist. Otherwise the schema has no version.
    /// - Throws: `ApplyError` where there is no such table, `PostgresError` where the catalog could not be read.
    public static func inspect(_ shape: TableShape, on session: PostgresSession, hasOwnTables: Bool = true) throws -> TableSchema
    {
        guard session.serverVersion >= 120_000 else {
            throw ApplyError(
                .configuration, "the server is PostgreSQL \(session.serverVersion / 10_000); 12 is the oldest that can be used")
        }
        let wanted = (shape.schema.map { quoteIdentifier($0) + "." } ?? "") + quoteIdentifier(shape.name)
        // First: a change in between then only leads to another inspection.
        let version = hasOwnTables ? try TableVersion.read(wanted, on: session) : 0
        let found = try ask(
            session, wanted,
            """
            WITH RECURSIVE \(descendants)
            SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, row_security_active(c.oid),
              c.relispartition
                OR (c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid OR i.inhparent = c.oid)),
              current_setting('server_encoding'),
              -- Before PostgreSQL 15 only the partitions have the triggers of a foreign key.
              EXISTS (SELECT FROM pg_trigger t
                WHERE (t.tgrelid = c.oid OR (c.relkind = 'p' AND t.tgrelid IN (SELECT relid FROM descendants)))
                  AND t.tginitdeferred AND t.tgenabled <> 'D'),
              c.relpersistence = 'u', has_table_privilege(c.oid, 'SELECT')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
            """)
        guard let version, found.rowCount == 1 else {
            let remedy =
                try nearest(to: shape.name, on: session).map { "did you mean \($0)?" }
                ?? "run the migrations or correct the mapping"
            throw ApplyError(table: wanted, [TableFault(["table"], "does not exist; \(remedy)")])
        }
        let kinds: [String: TableSchema.Kind] = ["r": .table, "p": .partitioned, "f": .foreign, "v": .view]
        guard let kind = kinds[try found.text(0, 2)] else {
            throw ApplyError(table: wanted, [TableFault(["table"], "is not a table; name one in the mapping")])
        }
        var schema = TableSchema(relation: try found.text(0, 1))
        schema.version = version
        schema.kind = kind
        schema.hasRowSecurity = try found.bool(0, 3)
        schema.isInherited = try found.bool(0, 4)
        schema.serverEncoding = try found.text(0, 5)
        schema.serverHasMerge = session.serverVersion >= 150_000 && PostgresLibrary.versionNumber >= 150_000
        schema.hasDeferredChecks = try found.bool(0, 6)
        schema.isUnlogged = try found.bool(0, 7)
        schema.isReadable = try found.bool(0, 8)
        try readColumns(&schema, session, wanted)
        try readTriggersAndConstraints(&schema, session, wanted)
        try readIndexes(&schema, shape, session, wanted)
        if kind == .partitioned { schema.ofPartitions = try partitionsOwn(session, wanted) }
        return schema
    }

    /// The table that is probably meant by the name of one that does not exist: of the same name in another schema, or of a similar name.
    /// As a mapping names it.
    /// - Parameter name: without a schema.
    public static func nearest(to name: String, on session: PostgresSession) throws -> String? {
        let rows = try ask(
            session, name,
            """
            SELECT c.relname::text, CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
            ORDER BY c.relname <> $1, 2 LIMIT 10000
            """)
        let tables = try (0..<rows.rowCount).map { (name: try rows.text($0, 0), full: try rows.text($0, 1)) }
        let meant = Nearest.name(to: name, among: tables.lazy.map(\.name))
        return tables.first { $0.name == meant }?.full
    }

    static func ask(_ session: PostgresSession, _ table: String, _ sql: String) throws -> PostgresResult {
        let parameters = Parameters()
        parameters.append(text: table)
        return try session.execute(PreparedStatement(sql, types: [TypeOID.text]), parameters)
    }

    private static func readColumns(_ schema: inout TableSchema, _ session: PostgresSession, _ table: String) throws {
        // A domain over a domain: the recursion ends at the type that is none.
        let rows = try ask(
            session, table,
            """
            WITH RECURSIVE base(attnum, type, is_domain, modifier, not_null, default_expression) AS (
              SELECT a.attnum, a.atttypid, false, a.atttypmod, a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
              FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
              UNION ALL
              SELECT b.attnum, t.typbasetype, true, t.typtypmod, b.not_null OR t.typnotnull,
                coalesce(b.default_expression, pg_get_expr(t.typdefaultbin, 0))
              FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype = 'd'
            )
            SELECT a.attname::text, b.type, b.is_domain, b.modifier, b.not_null,
              CASE WHEN a.attidentity = '' THEN b.default_expression
                ELSE format('nextval(%L::regclass)', s.name) END,
              a.attgenerated <> '', a.attidentity::text, coalesce(l.collisdeterministic, true),
              coalesce(EXISTS (SELECT FROM pg_sequence q WHERE q.seqrelid = s.name::regclass AND NOT q.seqcycle)
                AND (a.attidentity <> '' OR b.default_expression = format('nextval(%L::regclass)', s.name::regclass::text)), false),
              format_type(b.type, -1)
            FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
            JOIN pg_attribute a ON a.attrelid = to_regclass($1) AND a.attnum = b.attnum
            CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)) AS s(name)
            LEFT JOIN pg_collation l ON l.oid = a.attcollation
            """)
        for row in 0..<rows.rowCount {
            var column = TableSchema.Column(baseType: UInt32(try rows.int64(row, 1)))
            column.isDomain = try rows.bool(row, 2)
            column.typeModifier = try rows.int32(row, 3)
            column.isNotNull = try rows.bool(row, 4)
            column.isGenerated = try rows.bool(row, 6)
            // For a generated column pg_attrdef holds its expression.
            column.defaultExpression = rows.isNull(row, 5) || column.isGenerated ? nil : try rows.text(row, 5)
            column.identity = TableSchema.Identity(rawValue: try rows.text(row, 7))
            column.collationIsDeterministic = try rows.bool(row, 8)
            column.baseTypeName = try rows.text(row, 10)
            column.isNumbered = try rows.bool(row, 9)
            schema.columns[try rows.text(row, 0)] = column
        }
    }

    private static func readTriggersAndConstraints(_ schema: inout TableSchema, _ session: PostgresSession, _ table: String)
        throws
    {
        // tgtype (src/include/catalog/pg_trigger.h): 1 row, 2 before, 4 insert, 8 delete, 16 update.
        let triggers = try ask(
            session, table,
            """
            SELECT tgname::text, tgtype & 7 = 7, tgtype & 1 = 1,
              (SELECT coalesce(string_agg(a.attname::text, chr(1) ORDER BY a.attname), '') FROM pg_attribute a
               WHERE a.attrelid = tgrelid AND a.attnum = ANY(tgattr::int2[]))
            FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 28 <> 0 ORDER BY 1
            """)
        for row in 0..<triggers.rowCount {
            schema.triggers.append(
                .init(
                    name: try triggers.text(row, 0), isRow: try triggers.bool(row, 2),
                    isBeforeRowInsert: try triggers.bool(row, 1),
                    updateOf: try triggers.text(row, 3).split(separator: "\u{1}").map(String.init)))
        }
        let rules = try ask(
            session, table,
            """
            SELECT rulename::text FROM pg_rewrite
            WHERE ev_class = to_regclass($1) AND ev_type <> '1' AND ev_enabled <> 'D' ORDER BY 1
            """
        )
        for row in 0..<rules.rowCount { schema.rules.append(try rules.text(row, 0)) }
        let constraints = try ask(
            session, table,
            """
            SELECT conname::text, contype = 'c', conrelid <> to_regclass($1), confrelid = conrelid FROM pg_constraint
            WHERE (contype IN ('c', 'f') AND conrelid = to_regclass($1)) OR (contype = 'f' AND confrelid = to_regclass($1))
            ORDER BY 1
            """)
        for row in 0..<constraints.rowCount {
            let name = try constraints.text(row, 0)
            if try constraints.bool(row, 1) {
                schema.checks.append(name)
            } else {
                schema.foreignKeys.append(
                    .init(name: name, isIncoming: try constraints.bool(row, 2), isSelfReferencing: try constraints.bool(row, 3)))
            }
        }
    }

    private static func readIndexes(
        _ schema: inout TableSchema, _ shape: TableShape, _ session: PostgresSession, _ table: String
    ) throws {
        let rows = try ask(
            session, table,
            """
            SELECT c.relname::text, i.indisunique, i.indisexclusion, i.indpred IS NOT NULL OR i.indexprs IS NOT NULL,
              i.indimmediate AND i.indisvalid,
              (SELECT string_agg(a.attname::text, chr(1) ORDER BY a.attname) FROM pg_attribute a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])),
              m.amname <> 'btree' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attlen < 0),
              o.differs, o.is_loose
            FROM pg_index i CROSS JOIN LATERAL (
              SELECT count(*) > 0 AS differs, coalesce(bool_or(NOT l.collisdeterministic), false) AS is_loose
              FROM generate_series(0, i.indnkeyatts - 1) AS k
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND a.attcollation <> i.indcollation[k]
              JOIN pg_collation l ON l.oid IN (a.attcollation, i.indcollation[k])
            ) AS o JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
            WHERE i.indrelid = to_regclass($1) ORDER BY i.indisprimary DESC, 1
            """)
        let key = shape.key.map { shape.columns[$0].name }
        for row in 0..<rows.rowCount {
            var index = TableSchema.Index(name: try rows.text(row, 0))
            index.isUnique = try rows.bool(row, 1)
            index.isExclusion = try rows.bool(row, 2)
            index.isPartialOrExpression = try rows.bool(row, 3)
            index.canRefuse = try rows.bool(row, 6)
            let names = rows.isNull(row, 5) ? [] : try rows.text(row, 5).split(separator: "\u{1}").map(String.init)
            index.columns = names
            let isOverKey = index.isUnique && !index.isPartialOrExpression && names.count == key.count && Set(names) == Set(key)
            index.hasOtherCollation = try rows.bool(row, 7)
            index.hasOtherEquality = try isOverKey && rows.bool(row, 8)
            index.isOnKey = isOverKey && !index.hasOtherEquality
            index.isKey = try rows.bool(row, 4) && index.isOnKey
            schema.indexes.append(index)
        }
    }
}
