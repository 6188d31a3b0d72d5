// Reads what the partitions of a table have beyond what the table has.

import Postgres

extension TableInspector {
    /// A part of a WITH RECURSIVE query: the table's partitions on all levels. pg_partition_tree() would lock each of them.
    static let descendants = """
        descendants(relid) AS (
          SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1)
          UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN descendants d ON i.inhparent = d.relid
        )
        """

    /// What could see, change or refuse rows in a partition, and is not inherited from the partitioned table: a sentence each, ten at most.
    ///
    /// Statement triggers, rules, row-level security and column defaults of a partition do not apply to what is written through its
    /// table (PostgreSQL manual, "Table Partitioning", "Trigger behavior").
    static func partitionsOwn(_ session: PostgresSession, _ table: String) throws -> [String] {
        let rows = try ask(
            session, table,
            """
            WITH RECURSIVE \(descendants), part AS (
              SELECT d.relid, c.relname AS name, c.relkind FROM descendants d JOIN pg_class c ON c.oid = d.relid
            )
            SELECT 'partition ' || name || ' is a foreign table' FROM part WHERE relkind = 'f'
            UNION ALL
            -- A copy of the table's trigger has its name. Before PostgreSQL 15 copies count as internal.
            SELECT 'trigger ' || g.tgname || ' of partition ' || p.name FROM part p JOIN pg_trigger g ON g.tgrelid = p.relid
            WHERE g.tgenabled <> 'D' AND g.tgtype & 1 = 1 AND g.tgtype & 28 <> 0 AND (NOT g.tgisinternal OR g.tgconstraint = 0)
              AND NOT EXISTS (SELECT FROM pg_trigger r WHERE r.tgrelid = to_regclass($1) AND r.tgname = g.tgname
                AND r.tgfoid = g.tgfoid AND r.tgtype = g.tgtype AND r.tgenabled <> 'D')
            UNION ALL
            SELECT 'constraint ' || k.conname || ' of partition ' || p.name FROM part p
            JOIN pg_constraint k ON k.conrelid = p.relid OR k.confrelid = p.relid
            WHERE (k.contype = 'c' AND k.coninhcount = 0) OR (k.contype = 'f' AND k.conparentid = 0)
            UNION ALL
            SELECT 'index ' || c.relname || ' of partition ' || p.name FROM part p JOIN pg_index i ON i.indrelid = p.relid
            JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
            WHERE NOT c.relispartition AND (i.indisunique OR i.indisexclusion OR i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
              OR m.amname <> 'btree' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attlen < 0))
            UNION ALL
            SELECT 'column ' || a.attname || ' of partition ' || p.name || ' is NOT NULL or generated' FROM part p
            JOIN pg_attribute a ON a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_attribute r ON r.attrelid = to_regclass($1) AND r.attname = a.attname
            WHERE (a.attnotnull AND NOT r.attnotnull) OR a.attgenerated <> r.attgenerated
            ORDER BY 1 LIMIT 10
            """)
        return try (0..<rows.rowCount).map { try rows.text($0, 0) }
    }
}
