// Owns the check of a plan's statements on the server, before the first event.

public import Postgres
public import Records
import SluiceTables

extension WritePlan {
    /// What works, and will surprise somebody: a sentence each.
    public var warnings: [String] { schema.warnings(shape) }

    /// Reads the table's schema, plans for it and asks the server for the plan's statements.
    /// - Parameters:
    ///   - known: a plan of the same shape, which is returned where the schema has not changed.
    ///   - others: tables of other mappings: none of them may be this one, a partition of it, or the table that it is a partition of.
    ///   - hasOwnTables: Sluice's own tables and functions exist. Otherwise only what needs none of them is checked.
    /// - Throws: `ApplyError` where table and mapping do not fit, `PostgresError` where the server did not answer.
    public static func checked(
        _ shape: TableShape, unlessChanged known: WritePlan? = nil, apartFrom others: [OtherTable] = [],
        on session: PostgresSession, hasOwnTables: Bool = true
    ) throws -> WritePlan {
        let schema = try TableInspector.inspect(shape, on: session, hasOwnTables: hasOwnTables)
        let shared =
            shape.mode == .upsert ? try TableInspector.faults(of: schema.relation, sharedWith: others, on: session) : []
        do {
            let plan = try planned(shape, schema, unlessChanged: known, on: session)
            // Also of a known plan, because privileges change without the schema. The statements of a version read Sluice's tombstones.
            if hasOwnTables || shape.version == nil { try plan.check(on: session) }
            if shared.isEmpty { return plan }
        } catch let error as ApplyError where !shared.isEmpty {
            throw ApplyError(table: schema.relation, shared + error.faults)
        }
        throw ApplyError(table: schema.relation, shared)
    }

    private static func planned(
        _ shape: TableShape, _ schema: TableSchema, unlessChanged known: WritePlan?, on session: PostgresSession
    ) throws -> WritePlan {
        if let known, known.schema == schema { return known }
        do throws(ApplyError) {
            return try WritePlan(shape, schema: schema)
        } catch {
            // There is no statement to ask for, but each column can be.
            let others = try schema.kind == .view ? [] : mismatches(shape, schema, except: error.faults, on: session)
            throw ApplyError(table: schema.relation, error.faults + others)
        }
    }

    /// Whether the table is as it was when its schema was read: one query.
    public func isCurrent(on session: PostgresSession) throws -> Bool {
        try TableVersion.read(schema.relation, on: session) == schema.version
    }

    /// Asks the server whether it would execute the plan's statements: types, privileges, and what else only it knows.
    /// - Throws: `ApplyError` with everything that it refuses, `PostgresError` where it did not answer.
    public func check(on session: PostgresSession) throws {
        // What is refused, and the statements for which it is.
        var refusals: [(fault: TableFault, verbs: [String])] = []
        func refuse(_ verb: String, _ fault: TableFault) {
            if let known = refusals.firstIndex(where: { $0.fault == fault }) {
                if !refusals[known].verbs.contains(verb) { refusals[known].verbs.append(verb) }
            } else {
                refusals.append((fault, [verb]))
            }
        }
        let hasRules = strategy == .sequential && !schema.rules.isEmpty
        let kinds: [StatementKind] =
            switch shape.mode {
            case .append: [.append]
            case .insertOnly: [hasRules ? .append : .insert]
            case .upsert where hasRules: [.append, .update, .delete]
            case .upsert: [.insert] + (shape.hasPolicies ? [] : [.upsert]) + [.update, .delete] + (hasMerge ? [.merge] : [])
            }
        for kind in kinds {
            let statement = texts.statement(StatementKey(kind: kind))
            guard let error = try Self.refusal(of: statement.sql, parameters: statement.parameterCount, on: session) else {
                continue
            }
            // The server names the first column only.
            let columns =
                error.sqlState == .datatypeMismatch ? try Self.mismatches(shape, schema, except: [], on: session) : []
            for fault in columns.isEmpty ? [TableFault(["table"], Self.sentence(error))] : columns { refuse(verb(kind), fault) }
        }
        var faults = refusals.map { TableFault($0.fault.path, "\($0.verbs.joined(separator: ", ")): \($0.fault.sentence)") }
        let mayCreate = try session.execute(
            "SELECT has_database_privilege(current_database(), 'TEMP'), quote_ident(current_database()), quote_ident(current_user)"
        )
        let user = try mayCreate.text(0, 2)
        if try !mayCreate.bool(0, 0) {
            let database = try mayCreate.text(0, 1)
            faults.append(
                TableFault(
                    ["table"],
                    "\(user) may not create temporary tables, which isolating a bad record needs: "
                        + "GRANT TEMPORARY ON DATABASE \(database) TO \(user)"))
        }
        for (column, sequence) in try unusableSequences(on: session) {
            faults.append(
                TableFault(
                    ["columns", column],
                    "\(user) may not use the sequence of column \(column), which events without that column need: "
                        + "GRANT USAGE ON SEQUENCE \(sequence) TO \(user)"))
        }
        if !faults.isEmpty { throw ApplyError(table: schema.relation, faults) }
    }

    /// Sequences of which an INSERT may take a number, and the role must not: EXPLAIN does not ask for that.
    private func unusableSequences(on session: PostgresSession) throws -> [(column: String, sequence: String)] {
        let rows = try TableInspector.ask(
            session, schema.relation,
            """
            SELECT DISTINCT a.attname::text, s.oid::regclass::text
            FROM pg_attribute a JOIN pg_depend d ON (d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.objid = (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))
              OR (a.attidentity <> '' AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
                AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
            JOIN pg_class s ON s.oid = CASE WHEN a.attidentity = '' THEN d.refobjid ELSE d.objid END
            WHERE a.attrelid = to_regclass($1) AND a.attnum > 0
              AND CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') ELSE false END
            ORDER BY 1
            """)
        return try (0..<rows.rowCount).map { (try rows.text($0, 0), try rows.text($0, 1)) }.filter { name, _ in
            // An identity column that INSERT does not name needs no privilege; one that is optional gets its number by nextval().
            TableSchema.mayBeLeftOut(name, shape)
                && (schema.columns[name]?.identity == nil || shape.columns.contains { $0.name == name })
        }
    }

    /// The columns to which the mapping's type cannot be assigned.
    /// - Parameter known: faults of columns that are not asked for.
    private static func mismatches(
        _ shape: TableShape, _ schema: TableSchema, except known: [TableFault], on session: PostgresSession
    ) throws -> [TableFault] {
        try shape.columns.compactMap { mapped in
            let path = ["columns", mapped.name]
            if known.contains(where: { $0.path == path }) { return nil }
            let cast = mapped.sqlCast.map { "::" + $0 } ?? ""
            let sql =
                "INSERT INTO \(schema.relation) (\(quoteIdentifier(mapped.name))) SELECT u.c\(cast) FROM "
                + "unnest($1::\(mapped.wireType.arrayName)) AS u(c)"
            guard let error = try refusal(of: sql, parameters: 1, on: session), error.sqlState == .datatypeMismatch else {
                return nil
            }
            return TableFault(path, sentence(error))
        }
    }

    /// Why the server would not execute a statement; `nil`: it would. EXPLAIN analyses, rewrites and plans the statement and checks
    /// privileges, and executes nothing.
    private static func refusal(of sql: String, parameters count: Int, on session: PostgresSession) throws(PostgresError)
        -> PostgresError?
    {
        let nothing = Parameters()
        for _ in 0..<count { nothing.appendNull() }
        do throws(PostgresError) {
            try session.execute("EXPLAIN " + sql, nothing)
            return nil
        } catch {
            // The statement needs more locks than there are, as with very many table partitions; see TransactionRun.savesLocks.
            if error.sqlState == .outOfMemory { return nil }
            // A lock that is held, or a server that is busy, says nothing about the statement: the claim is tried again.
            if error.isConnectionLost || error.isRetriable { throw error }
            return error
        }
    }

    private static func sentence(_ error: PostgresError) -> String {
        error.message + (error.sqlState.map { " (\($0.rawValue))" } ?? "")
    }
}

extension WritePlan {
    private func verb(_ kind: StatementKind) -> String {
        switch kind {
        case .delete: shape.deletion.isEmpty ? "DELETE" : "UPDATE"
        case .update: "UPDATE"
        case .upsert, .merge, .insert, .insertNotUpdated, .append: "INSERT"
        }
    }
}
