// Proves that Sluice's own tables come with the program, and that a database of the former layout is taken over: on a real PostgreSQL.

import Foundation
import Postgres
import TestSupport
import Testing

@testable import SluiceTables

/// A directory of migration files, and a database to apply them to.
private struct World {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-schema-\(UUID().uuidString)").path
    let uri: String
    let connection: PostgresConnection

    init(_ files: [String: String] = [:]) async throws {
        uri = try await TestPostgres.database()
        connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for (name, text) in files { try write(name, text) }
    }

    func write(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(directory)/\(name)", atomically: true, encoding: .utf8)
    }

    func migrate(_ directory: String? = nil) async throws -> [String] {
        try await Schema.migrate(
            directory ?? self.directory, PostgresConfiguration(uri: uri), log: { _, _ in }, applied: { _ in })
    }

    func pending(_ directory: String? = nil) async throws -> [String] {
        try await Schema.pending(directory ?? self.directory, PostgresConfiguration(uri: uri), log: { _, _ in })
    }

    func script(_ sql: String) async throws { _ = try await connection.perform { try $0.executeScript(sql) } }

    func rows(_ sql: String) async throws -> [String] {
        try await connection.perform { session in
            let result = try session.execute(sql)
            return try (0..<result.rowCount).map { try result.text($0, 0) }
        }
    }

    /// Disconnects and removes the directory.
    func end() async {
        await connection.close()
        try? FileManager.default.removeItem(atPath: directory)
    }
}

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct OwnSchemaTests {
    private static let all = (1...6).map { "sluice_schema step \($0)" }

    private static func example(_ name: String) throws -> String {
        try String(contentsOfFile: "\(TestPostgres.migrations)/\(name)", encoding: .utf8)
    }

    /// The files of a directory of the former layout that were not Sluice's own.
    private static func exampleFiles() throws -> [String: String] {
        try ["0001_messages.sql": example("0001_messages.sql"), "0002_messages_cdc.sql": example("0002_messages_cdc.sql")]
    }

    /// What a database of the former layout holds: all tables, the rows of all four files, and data.
    private static func former() throws -> String {
        try example("0001_messages.sql") + example("0002_messages_cdc.sql") + OwnSchema.offsetsAndDeadLetters
            + OwnSchema.pauses + """
                CREATE TABLE sluice_migrations (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now());
                INSERT INTO sluice_migrations (version, name, checksum) VALUES
                    (1, 'messages', 'fnv1a64:ea70a059de714436'), (2, 'messages_cdc', 'fnv1a64:0b28ea2970e96de5'),
                    (3, 'sluice', 'fnv1a64:5e006b581d3305bd'), (4, 'pauses', 'fnv1a64:e26d2a0a88b88f19');
                INSERT INTO messages VALUES (1, 'n', 'm');
                INSERT INTO sluice_offsets (consumer_group, topic, partition, next_offset, epoch, member)
                    VALUES ('g', 't', 0, 17, 4, 'm');
                INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", payload, reason)
                    VALUES ('g', 't', 0, 16, 'x', 'decode:malformed_json');
                """
    }

    private static let letters = """
        SELECT concat_ws('|', "offset", convert_from(payload, 'UTF8'), reason, fingerprint, attempts, state)
        FROM sluice_dead_letters
        """

    @Test func withoutADirectoryTheOwnTablesAreMade() async throws {
        let world = try await World()
        #expect(try await world.pending("") == Self.all)
        #expect(try await world.migrate("") == Self.all)
        #expect(try await world.pending("") == [])
        #expect(try await world.migrate("") == [])
        #expect(
            try await world.rows("SELECT version::text FROM sluice_schema ORDER BY version") == ["1", "2", "3", "4", "5", "6"])
        #expect(try await world.rows("SELECT (to_regclass('sluice_migrations') IS NULL)::text") == ["true"])
        await world.end()
    }

    @Test func aDirectoryThatIsMissingIsAFault() async throws {
        let world = try await World()
        await #expect(throws: MigrationError.self) { try await world.migrate("\(world.directory)/none") }
        #expect(try await world.rows("SELECT (to_regclass('sluice_schema') IS NULL)::text") == ["true"])
        await world.end()
    }

    @Test func theUsersNumbersAreTheirOwn() async throws {
        let world = try await World(["0003_orders.sql": "CREATE TABLE orders (id int PRIMARY KEY)"])
        #expect(try await world.pending() == Self.all + ["0003_orders.sql"])
        #expect(try await world.migrate() == Self.all + ["0003_orders.sql"])
        #expect(try await world.pending() == [])
        await world.end()
    }

    @Test func aDatabaseOfTheFormerLayoutIsTakenOver() async throws {
        let world = try await World(try Self.exampleFiles())
        try await world.script(try Self.former())
        try world.write("0005_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY)")
        #expect(try await world.pending() == Self.all[2...] + ["0005_orders.sql"])
        #expect(try await world.migrate() == Self.all[2...] + ["0005_orders.sql"])
        #expect(try await world.pending() == [])
        #expect(
            try await world.rows("SELECT version::text FROM sluice_schema ORDER BY version") == ["1", "2", "3", "4", "5", "6"])
        #expect(
            try await world.rows("SELECT version::text FROM sluice_migrations ORDER BY version") == ["1", "2", "3", "4", "5"])
        #expect(try await world.rows("SELECT next_offset || ' ' || epoch FROM sluice_offsets") == ["17 4"])
        #expect(try await world.rows(Self.letters) == ["16|x|decode:malformed_json|0|1|new"])
        #expect(try await world.rows("SELECT name FROM messages") == ["n"])
        await world.end()
    }

    @Test func theFirstTwoStepsAreTheFormerFiles() {
        let sums = [OwnSchema.offsetsAndDeadLetters, OwnSchema.pauses].map {
            Migration(version: 1, name: "", file: "", sql: $0).checksum
        }
        #expect(Set(sums) == OwnSchema.formerFiles)
    }

    @Test func aDirectoryOfTheFormerLayoutWorksAsItIs() async throws {
        for sql in [try Self.former(), ""] {
            let world = try await World(try Self.exampleFiles())
            try world.write("0003_sluice.sql", OwnSchema.offsetsAndDeadLetters)
            try world.write("0004_pauses.sql", OwnSchema.pauses)
            try world.write("0005_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY)")
            try await world.script(sql)
            let expected =
                sql.isEmpty
                ? Self.all + ["0001_messages.sql", "0002_messages_cdc.sql", "0005_orders.sql"]
                : Self.all[2...] + ["0005_orders.sql"]
            #expect(try await world.migrate() == expected)
            #expect(try await world.migrate() == [])
            await world.end()
        }
    }

    @Test func aDatabaseFromBeforeThePausesIsTakenOver() async throws {
        let world = try await World()
        try await world.script(OwnSchema.offsetsAndDeadLetters)
        #expect(try await world.migrate("") == Array(Self.all[1...]))
        await world.end()
    }

    @Test func aNumberThatSluiceHadIsRefusedWhereTheDatabaseHasIt() async throws {
        let world = try await World(try Self.exampleFiles())
        try await world.script(try Self.former())
        try world.write("0004_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY)")
        let error = await #expect(throws: MigrationError.self) { try await world.migrate() }
        #expect(error?.code == .misnumbered && error?.description.hasPrefix("0004_orders.sql") == true)
        #expect(try await world.rows("SELECT (to_regclass('sluice_schema') IS NULL)::text") == ["true"], "nothing was applied")
        await world.end()
    }

    @Test func aNewerDatabaseIsRefused() async throws {
        let world = try await World()
        _ = try await world.migrate("")
        try await world.script("INSERT INTO sluice_schema (version) VALUES (9)")
        for attempt in [{ try await world.migrate("") }, { try await world.pending("") }] {
            let error = await #expect(throws: MigrationError.self) { _ = try await attempt() }
            #expect(error?.code == .newerDatabase)
            #expect(
                error?.description == "the database is at version 9 of sluice_schema, and this program knows version 6: "
                    + "run the newer program, or restore the database from before its upgrade")
        }
        await world.end()
    }
}
