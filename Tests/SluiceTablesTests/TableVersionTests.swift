// Proves that a table's version changes with everything that a plan depends on, and with nothing else: on a real PostgreSQL.

import Postgres
import SluiceTables
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct TableVersionTests {
    private static let function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"

    private static func connect() async throws -> PostgresConnection {
        let uri = try await TestPostgres.database()
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        try await connection.perform { _ = try MigrationRunner().apply($0, [OwnSchema.migrations]) }
        return connection
    }

    /// Executes one statement after the other, and expects each to change the version of `t`, or none.
    private static func execute(_ statements: [String], changes: Bool, on session: PostgresSession) throws {
        var version = try #require(try TableVersion.read("t", on: session))
        for sql in statements {
            try session.executeScript(sql)
            let next = try #require(try TableVersion.read("t", on: session))
            #expect((next != version) == changes, "\(sql)")
            version = next
        }
    }

    @Test func whatAPlanDependsOnChangesIt() async throws {
        let connection = try await Self.connect()
        try await connection.perform { session in
            try session.executeScript(
                """
                CREATE DOMAIN inner_domain AS int; CREATE DOMAIN outer_domain AS inner_domain;
                CREATE TABLE o (id int PRIMARY KEY, n int); CREATE TABLE k (); CREATE ROLE \(Self.role); \(Self.function)
                CREATE TABLE t (id int PRIMARY KEY, v text, n int, d outer_domain);
                """)
            try Self.execute(
                [
                    "CREATE UNIQUE INDEX u ON t (v)", "DROP INDEX u", "CREATE INDEX CONCURRENTLY u ON t (n)",
                    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u'::regclass",
                    "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
                    "ALTER TABLE t DISABLE TRIGGER x", "ALTER TABLE t ENABLE ALWAYS TRIGGER x", "DROP TRIGGER x ON t",
                    "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID", "ALTER TABLE t DROP CONSTRAINT c",
                    "ALTER TABLE t ADD CONSTRAINT r FOREIGN KEY (n) REFERENCES o DEFERRABLE",
                    "ALTER TABLE t ALTER CONSTRAINT r INITIALLY DEFERRED", "ALTER TABLE t DROP CONSTRAINT r",
                    "ALTER TABLE o ADD CONSTRAINT r FOREIGN KEY (n) REFERENCES t", "ALTER TABLE o DROP CONSTRAINT r",
                    "ALTER TABLE t ADD CONSTRAINT e EXCLUDE USING btree (n WITH =)",
                    "CREATE RULE w AS ON UPDATE TO t DO ALSO NOTHING", "ALTER TABLE t DISABLE RULE w", "DROP RULE w ON t",
                    "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE t FORCE ROW LEVEL SECURITY",
                    "ALTER TABLE t ALTER v TYPE varchar(9)", "ALTER TABLE t ALTER v TYPE varchar(3)",
                    "ALTER TABLE t ALTER v SET NOT NULL", "ALTER TABLE t ALTER v SET DEFAULT 'a'",
                    "ALTER TABLE t ALTER v SET DEFAULT 'b'", "ALTER TABLE t ADD w text", "ALTER TABLE t RENAME w TO z",
                    "ALTER TABLE t DROP z", "ALTER DOMAIN inner_domain SET DEFAULT 1", "ALTER DOMAIN outer_domain SET DEFAULT 2",
                    "ALTER TABLE t SET UNLOGGED", "ALTER TABLE t OWNER TO \(Self.role)", "CREATE TABLE i () INHERITS (t)",
                    "ALTER TABLE t INHERIT k", "ALTER TABLE t RENAME TO former; CREATE TABLE t (LIKE former INCLUDING ALL)",
                ], changes: true, on: session)
            try session.executeScript("DROP TABLE t, former CASCADE; DROP ROLE \(Self.role)")
            #expect(try TableVersion.read("t", on: session) == nil)
        }
        await connection.close()
    }

    private static let role = "sluice_test_\(UInt32.random(in: 0...999_999_999))"

    @Test func partitionsCount() async throws {
        let connection = try await Self.connect()
        try await connection.perform { session in
            try session.executeScript(
                """
                \(Self.function)
                CREATE TABLE t (id int PRIMARY KEY, v text, n int) PARTITION BY RANGE (id);
                CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
                CREATE TABLE q PARTITION OF p FOR VALUES FROM (0) TO (5);
                CREATE TABLE other (id int PRIMARY KEY, v text, n int);
                """)
            try Self.execute(
                [
                    "CREATE TRIGGER x AFTER INSERT ON q FOR EACH ROW EXECUTE FUNCTION f()", "ALTER TABLE q ALTER v SET NOT NULL",
                    "CREATE UNIQUE INDEX u ON q (v)", "ALTER TABLE q ADD CONSTRAINT c CHECK (n > 0)",
                    "CREATE TABLE s PARTITION OF p FOR VALUES FROM (5) TO (10)",
                    "ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (10) TO (20)", "ALTER TABLE t DETACH PARTITION other",
                    "DROP TABLE s",
                ], changes: true, on: session)
            // A lock on each of a thousand partitions is what a transaction that writes to one of them must not need.
            try session.transaction {
                _ = try TableVersion.read("t", on: session)
                let locks = try session.execute(
                    """
                    SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
                      AND relation = ANY (ARRAY['t', 'p', 'q']::regclass[]::oid[])
                    """)
                #expect(try locks.int64(0, 0) == 0)
            }
        }
        await connection.close()
    }

    @Test func rowsAndMaintenanceDoNotChangeIt() async throws {
        let connection = try await Self.connect()
        try await connection.perform { session in
            try session.executeScript(
                """
                \(Self.function) CREATE TABLE o (id int PRIMARY KEY);
                CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'x' CHECK (v <> ''), o int REFERENCES o) PARTITION BY LIST (id);
                CREATE TABLE p PARTITION OF t DEFAULT;
                CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
                """)
            try Self.execute(
                [
                    "INSERT INTO t SELECT g FROM generate_series(1, 5000) g", "UPDATE t SET v = v || '!'",
                    "DELETE FROM t WHERE id % 2 = 0", "ANALYZE t", "VACUUM t", "VACUUM (FREEZE, ANALYZE)", "VACUUM FULL p",
                    "TRUNCATE t", "REINDEX TABLE p", "COMMENT ON TABLE t IS 'c'", "GRANT SELECT ON t TO PUBLIC",
                    "CREATE TABLE unrelated (id int PRIMARY KEY)",
                ], changes: false, on: session)
        }
        await connection.close()
    }

    @Test func anotherVersionIsRefused() async throws {
        let connection = try await Self.connect()
        try await connection.perform { session in
            try session.executeScript("CREATE TABLE t (id int PRIMARY KEY)")
            let version = try #require(try TableVersion.read("t", on: session))
            let pool = ArrayPool(keptBytes: 0)
            let check = TableVersion.requirement("t", version, pool)
            _ = try session.pipeline { try check.queue(&$0) }
            for ddl in ["ALTER TABLE t ADD v text", "DROP TABLE t"] {
                try session.executeScript(ddl)
                let error = #expect(throws: PostgresError.self) { _ = try session.pipeline { try check.queue(&$0) } }
                #expect(error?.sqlState == .schemaChanged, "\(ddl)")
            }
        }
        await connection.close()
    }
}
