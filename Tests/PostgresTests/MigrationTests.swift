// Migrations: files, their checksums, and runners that meet each other, failures and newer databases.

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Postgres

/// A directory of migration files for one test.
private final class Directory {
    let path = NSTemporaryDirectory() + "sluice-migrations-" + UUID().uuidString

    init(_ files: [String: String]) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws {
        try text.write(toFile: path + "/" + name, atomically: true, encoding: .utf8)
    }
}

/// The migration error that `body` throws; `nil`: none, or another type.
private func migrationError<R>(_ body: () async throws -> R) async -> MigrationError? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? MigrationError
    }
}

@Suite("Migration files")
struct MigrationFileTests {
    @Test("Files are read in order; others are ignored")
    func order() throws {
        let directory = try Directory([
            "0002_second_step.sql": "SELECT 2", "0001_first.sql": "SELECT 1", "README.md": "", ".0003_hidden.sql": "",
        ])
        let migrations = try Migrations.load(directory: directory.path)
        #expect(migrations.map(\.version) == [1, 2])
        #expect(migrations.map(\.name) == ["first", "second_step"])
        #expect(migrations[0].sql == "SELECT 1")
    }

    @Test("Numbers may be left out, and retired files do not count")
    func gaps() throws {
        let directory = try Directory([
            "0002_b.sql": "b", "0005_c.sql": "c", "0005_retired.sql": "foobar", "0006_retired.sql": "a",
        ])
        let retired: Set<String> = ["fnv1a64:85944171f73967e8", "fnv1a64:af63dc4c8601ec8c"]
        #expect(try Migrations.load(directory: directory.path, retired: retired).map(\.file) == ["0002_b.sql", "0005_c.sql"])
    }

    @Test(
        "Doubles and odd names are errors that name the file",
        arguments: [
            (["0001_a.sql", "0001_b.sql"], "0001_b.sql"), (["0001_a.sql", "x.sql"], "x.sql"), (["1_a.sql"], "1_a.sql"),
            (["00001_a.sql"], "00001_a.sql"), (["0001_.sql"], "0001_.sql"), (["0000_a.sql"], "0000_a.sql"),
        ])
    func misnumbered(files: [String], named: String) async throws {
        let directory = try Directory(Dictionary(uniqueKeysWithValues: files.map { ($0, "") }))
        let error = try #require(await migrationError { try Migrations.load(directory: directory.path) })
        #expect(error.code == .misnumbered && error.description.contains(named))
    }

    @Test("A directory that is missing or empty and a file that is no text are errors")
    func unreadable() async throws {
        #expect(await migrationError { try Migrations.load(directory: "/nonexistent/migrations") }?.code == .unreadable)
        let directory = try Directory([:])
        #expect(await migrationError { try Migrations.load(directory: directory.path) }?.code == .unreadable)
        try Data([0xff, 0xfe]).write(to: URL(fileURLWithPath: directory.path + "/0001_a.sql"))
        #expect(await migrationError { try Migrations.load(directory: directory.path) }?.code == .unreadable)
    }

    @Test("Checksums are FNV-1a 64, by its published test vectors")
    func checksum() {
        func sum(_ sql: String) -> String { Migration(version: 1, name: "", file: "", sql: sql).checksum }
        #expect(sum("") == "fnv1a64:cbf29ce484222325")
        #expect(sum("a") == "fnv1a64:af63dc4c8601ec8c")
        #expect(sum("foobar") == "fnv1a64:85944171f73967e8")
    }
}

@Suite("Migrations", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct MigrationTests {
    @Test("The example's migrations apply to a fresh database, once")
    func freshAndRepeated() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let migrations = try Migrations.load(directory: TestPostgres.migrations)
        let applied = Mutex<[String]>([])
        let runner = MigrationRunner { migration in applied.withLock { $0.append(migration.file) } }
        try await connection.perform { session in
            #expect(try runner.pending(session, [.files(migrations)]) == migrations)
            #expect(try runner.apply(session, [.files(migrations)]) == migrations)
            #expect(try runner.pending(session, [.files(migrations)]) == [])
            #expect(try runner.apply(session, [.files(migrations)]) == [])
            let timeouts = try session.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
            #expect(try [timeouts.text(0, 0), timeouts.text(0, 1)] == ["30s", "5s"])
            #expect(session.replyTimeout == .seconds(35))
            #expect(
                try session.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()").rowCount == 0
            )
        }
        #expect(applied.withLock { $0 } == migrations.map(\.file))
        await connection.close()
    }

    @Test("A file edited after it was applied is an error that names it")
    func edited() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory(["0001_a.sql": "CREATE TABLE a (x int)", "0002_b.sql": "CREATE TABLE b (x int)"])
        let migrations = try Migrations.load(directory: directory.path)
        try await connection.perform { try MigrationRunner().apply($0, [.files(migrations)]) }
        try directory.write("0001_a.sql", "CREATE TABLE a (x bigint)")
        let changed = try Migrations.load(directory: directory.path)
        let error = await migrationError { try await connection.perform { try MigrationRunner().apply($0, [.files(changed)]) } }
        #expect(error?.code == .edited && error?.description.contains("0001_a.sql") == true)
        await connection.close()
    }

    @Test("A database that is newer than the files is refused")
    func newer() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory(["0001_a.sql": "SELECT 1", "0002_b.sql": "SELECT 2"])
        let migrations = try Migrations.load(directory: directory.path)
        try await connection.perform { try MigrationRunner().apply($0, [.files(migrations)]) }
        let error = await migrationError {
            try await connection.perform { try MigrationRunner().pending($0, [.files([migrations[0]])]) }
        }
        #expect(error?.code == .newerDatabase && error?.description.contains("migration 2 (b)") == true)
        await connection.close()
    }

    @Test("A file with a number below an applied one is refused by name; nothing else is applied")
    func late() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory(["0001_a.sql": "SELECT 1", "0005_e.sql": "SELECT 5"])
        let first = try Migrations.load(directory: directory.path)
        try await connection.perform { try MigrationRunner().apply($0, [.files(first)]) }
        try directory.write("0003_c.sql", "SELECT 3")
        try directory.write("0006_f.sql", "SELECT 6")
        let more = try Migrations.load(directory: directory.path)
        let error = await migrationError { try await connection.perform { try MigrationRunner().apply($0, [.files(more)]) } }
        #expect(error?.code == .misnumbered)
        #expect(error?.description == "0003_c.sql was added before an applied one, 0005_e.sql; give it a higher number")
        let applied = try await connection.perform { try $0.execute("SELECT max(version) FROM sluice_migrations").int32(0, 0) }
        #expect(applied == 5)
        await connection.close()
    }

    @Test("Retired rows count for nothing, but their numbers stay taken")
    func retired() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory(["0001_a.sql": "SELECT 1", "0002_b.sql": "a", "0003_c.sql": "SELECT 3"])
        try await connection.perform { session in
            try session.execute(
                """
                CREATE TABLE sluice_migrations (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now())
                """)
            try session.execute("INSERT INTO sluice_migrations VALUES (2, 'b', 'fnv1a64:af63dc4c8601ec8c')")
        }
        let retired: Set<String> = ["fnv1a64:af63dc4c8601ec8c"]
        let without = try Migrations.load(directory: directory.path, retired: retired)
        let applied = try await connection.perform { try MigrationRunner().apply($0, [.files(without, retired: retired)]) }
        #expect(applied.map(\.version) == [1, 3])
        try directory.write("0002_b.sql", "SELECT 2")
        let other = try Migrations.load(directory: directory.path, retired: retired)
        let error = await migrationError {
            try await connection.perform { try MigrationRunner().pending($0, [.files(other, retired: retired)]) }
        }
        #expect(error?.code == .misnumbered && error?.description.hasPrefix("0002_b.sql") == true)
        await connection.close()
    }

    @Test("A failing migration leaves the database as it was before it, and those before it applied")
    func failing() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory([
            "0001_a.sql": "CREATE TABLE a (x int);", "0002_b.sql": "CREATE TABLE b (x int); INSERT INTO b VALUES (1 / 0);",
        ])
        let migrations = try Migrations.load(directory: directory.path)
        let error = await migrationError {
            try await connection.perform { try MigrationRunner().apply($0, [.files(migrations)]) }
        }
        #expect(error?.code == .failed && error?.sqlState == SQLState("22012"))
        #expect(error?.description.contains("0002_b.sql") == true)
        try directory.write("0002_b.sql", "CREATE TABLE b (x int)")
        let repaired = try Migrations.load(directory: directory.path)
        let applied = try await connection.perform { try MigrationRunner().apply($0, [.files(repaired)]) }
        #expect(applied.map(\.version) == [2])
        await connection.close()
    }

    @Test("A migration that ends its own transaction is an error")
    func ownCommit() async throws {
        let connection = try await connect(try await TestPostgres.database())
        let directory = try Directory(["0001_a.sql": "CREATE TABLE a (x int); COMMIT;"])
        let migrations = try Migrations.load(directory: directory.path)
        let error = await migrationError {
            try await connection.perform { try MigrationRunner().apply($0, [.files(migrations)]) }
        }
        #expect(error?.code == .failed && error?.description.contains("COMMIT") == true)
        await connection.close()
    }

    @Test("Of several runners at once one does the work and the others find it done")
    func concurrent() async throws {
        let uri = try await TestPostgres.database()
        let migrations = try Migrations.load(directory: TestPostgres.migrations)
        let counts = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let connection = try await connect(uri)
                    let applied = try await connection.perform { try MigrationRunner().apply($0, [.files(migrations)]) }
                    await connection.close()
                    return applied.count
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(counts.sorted() == [0, 0, 0, migrations.count])
    }

    @Test("Another process that migrates for too long is an error that can be retried; the session lives on")
    func locked() async throws {
        let uri = try await TestPostgres.database()
        let (holder, waiter) = (try await connect(uri), try await connect(uri))
        try await holder.perform { try $0.execute("SELECT pg_advisory_lock(\(MigrationRunner.lockKey))") }
        let migrations = try Migrations.load(directory: TestPostgres.migrations)
        var runner = MigrationRunner()
        runner.lockWait = .milliseconds(100)
        let impatient = runner
        let error = await migrationError { try await waiter.perform { try impatient.apply($0, [.files(migrations)]) } }
        #expect(error?.code == .locked && error?.isRetriable == true)
        try await holder.perform { try $0.execute("SELECT pg_advisory_unlock(\(MigrationRunner.lockKey))") }
        let applied = try await waiter.perform { try impatient.apply($0, [.files(migrations)]) }
        #expect(applied.count == migrations.count)
        await holder.close()
        await waiter.close()
    }
}
