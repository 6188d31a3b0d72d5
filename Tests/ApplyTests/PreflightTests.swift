// What the server would refuse is said before the first event: types, privileges, policies, all at once.

import Postgres
import Records
import TestSupport
import Testing

@testable import Apply

extension ServerTests {
    @Suite struct PreflightTests {
        private let shape = TableShape(
            name: "t",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .text), ColumnShape(name: "b", type: .text),
            ], key: [0])

        /// A session of a role that may do nothing but what `grants` says.
        private func limited(_ ddl: String, grants: String, temporary: Bool = true) async throws -> TestDatabase {
            let database = try await TestDatabase.fresh(ddl)
            let name = try await database.rows("SELECT quote_ident(current_database())")[0]
            try await database.script(
                """
                DO $$ BEGIN CREATE ROLE sluice_limited; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                REVOKE TEMPORARY ON DATABASE \(name) FROM PUBLIC;
                \(temporary ? "GRANT TEMPORARY ON DATABASE \(name) TO sluice_limited;" : "")
                \(grants)
                SET ROLE sluice_limited;
                """)
            return database
        }

        private func fault(_ database: TestDatabase) async throws -> String? {
            let shape = shape
            do {
                try await database.connection.perform { session in
                    try WritePlan(shape, schema: TableInspector.inspect(shape, on: session)).check(on: session)
                }
                return nil
            } catch let error as ApplyError {
                return error.description
            }
        }

        @Test func everyColumnThatTakesAnotherTypeIsNamed() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, a uuid, b jsonb);")
            let fault = try #require(try await fault(database))
            for name in ["INSERT, UPDATE", "\"a\" is of type uuid", "\"b\" is of type jsonb", "(42804)"] {
                #expect(fault.contains(name), "\(fault)")
            }
        }

        @Test func aKeyThatIsAlwaysAnIdentityIsWritten() async throws {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, b text);")
            #expect(try await fault(database) == nil)
        }

        @Test func everyMissingPrivilegeIsNamed() async throws {
            let table = "CREATE TABLE t (id int PRIMARY KEY, a text, b text);"
            let all = try await limited(table, grants: "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO sluice_limited;")
            #expect(try await fault(all) == nil)
            let some = try await limited(table, grants: "GRANT SELECT, INSERT ON t TO sluice_limited;", temporary: false)
            let fault = try #require(try await fault(some))
            #expect(fault.contains("INSERT, UPDATE, DELETE: permission denied for table t (42501)"), "\(fault)")
            #expect(fault.contains("may not create temporary tables"), "\(fault)")
        }

        @Test func rowSecurityThatAppliesIsRefused() async throws {
            let database = try await limited(
                "CREATE TABLE t (id int PRIMARY KEY, a text, b text); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
                    + "CREATE POLICY p ON t USING (true);", grants: "GRANT ALL ON t TO sluice_limited;")
            #expect(try await fault(database)?.contains("row-level security applies to this role") == true)
            try await database.script("RESET ROLE")
            #expect(try await fault(database) == nil, "the owner bypasses it")
        }

        @Test func whatWillSurpriseIsAWarning() async throws {
            let database = try await TestDatabase.fresh(
                "CREATE UNLOGGED TABLE t (id int PRIMARY KEY, a text, b text); CREATE TABLE k (id varchar(3) PRIMARY KEY);")
            let keyed = TableShape(name: "k", columns: [ColumnShape(name: "id", type: .text)], key: [0])
            let warnings = try await [shape, keyed].asyncMap { shape in
                try await database.connection.perform { session in
                    try WritePlan(shape, schema: TableInspector.inspect(shape, on: session)).warnings
                }
            }
            #expect(warnings[0].count == 1 && warnings[0][0].contains("UNLOGGED"))
            #expect(warnings[1].count == 1 && warnings[1][0].contains("key column id has a length"))
        }

        @Test func allFaultsOfTheCatalogueAreNamedAtOnce() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id text, a text GENERATED ALWAYS AS ('x') STORED);")
            let fault = try #require(try await fault(database))
            for part in ["column b does not exist", "column a is generated", "cannot be looked up by a int4", "no unique index"] {
                #expect(fault.contains(part), "\(fault)")
            }
        }
    }
}
