// Finds other mappings of one table's rows, by whatever name they call it.

import Postgres
public import Records

/// The table of another mapping that updates and deletes rows.
public struct OtherTable: Sendable {
    let mapping: String
    let table: TableShape

    /// `nil`: the mapping only inserts rows.
    /// - Parameter mapping: its name, for messages.
    public init?(_ table: TableShape, mapping: String) {
        guard table.mode == .upsert else { return nil }
        self.mapping = mapping
        self.table = table
    }
}

extension TableInspector {
    /// A fault for each mapping among `others` that writes rows of this table: it names the same table, such as `orders` and
    /// `public.orders`, a partition of it on any level, or the partitioned table that it is a partition of. A child by INHERITS is another
    /// table: its rows are not the parent's to insert, and the same key may be in both.
    /// - Parameter relation: the table's name as SQL writes it.
    static func faults(of relation: String, sharedWith others: [OtherTable], on session: PostgresSession) throws -> [TableFault] {
        if others.isEmpty { return [] }
        var names = BinaryArray(element: TypeOID.text)
        var schemas = BinaryArray(element: TypeOID.text)
        var tables = BinaryArray(element: TypeOID.text)
        for other in others {
            names.append(other.mapping)
            schemas.append(other.table.schema ?? "")
            tables.append(other.table.name)
        }
        let parameters = Parameters()
        parameters.append(text: relation)
        parameters.append(array: &names, type: TypeOID.textArray)
        parameters.append(array: &schemas, type: TypeOID.textArray)
        parameters.append(array: &tables, type: TypeOID.textArray)
        // No name with a schema is looked up, because that fails where the role may not use the schema. Unlike pg_partition_tree(),
        // pg_partition_ancestors() locks nothing; it has no row for a table that is neither partitioned nor a partition.
        let result = try session.execute(
            """
            WITH other AS MATERIALIZED (
              SELECT o.mapping, c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation
              FROM unnest($2::text[], $3::text[], $4::text[]) AS o(mapping, schema, name)
              JOIN pg_class c ON c.relname = o.name JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE CASE o.schema WHEN '' THEN c.oid = to_regclass(quote_ident(o.name)) ELSE n.nspname = o.schema END
            ), compared AS (
              SELECT mapping,
                CASE WHEN oid = to_regclass($1::text) THEN 'is also'
                  WHEN oid IN (SELECT relid FROM pg_partition_ancestors(to_regclass($1))) THEN 'is a partition of ' || relation || ','
                  WHEN to_regclass($1) IN (SELECT relid FROM pg_partition_ancestors(oid)) THEN 'has the partition ' || relation || ','
                END AS what
              FROM other
            )
            SELECT what, mapping FROM compared WHERE what IS NOT NULL ORDER BY mapping
            """, parameters)
        return try (0..<result.rowCount).map { row in
            let (what, mapping) = (try result.text(row, 0), try result.text(row, 1))
            return TableFault(["table"], "\(what) the table of the mapping \(mapping); events of one row would have no order")
        }
    }
}
