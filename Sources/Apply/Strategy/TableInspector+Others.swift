// Finds other mappings of one table, by whatever name they call it.

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
    /// The mappings among `others` that name this table, such as `orders` and `public.orders`.
    /// - Parameter relation: the table's name as SQL writes it.
    static func mappings(of relation: String, among others: [OtherTable], on session: PostgresSession) throws -> [String] {
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
        // No name with a schema is looked up, because that fails where the role may not use the schema.
        let result = try session.execute(
            """
            SELECT o.mapping FROM unnest($2::text[], $3::text[], $4::text[]) AS o(mapping, schema, name), pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = to_regclass($1::text) AND CASE WHEN o.schema = '' THEN to_regclass(quote_ident(o.name)) = c.oid
              ELSE n.nspname = o.schema AND c.relname = o.name END
            ORDER BY 1
            """, parameters)
        return try (0..<result.rowCount).map { try result.text($0, 0) }
    }
}
