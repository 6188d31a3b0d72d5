// A fresh database for a test, with Sluice's own tables in it, and connections to it.

import Foundation
import Postgres
import Records
import SluiceTables
import Synchronization
import TestSupport
import Testing

@testable import Apply

/// All tests that need the server run one after the other: there are few cores and connections, and many tests.
@Suite(.serialized, .enabled("needs PostgreSQL") { await TestPostgres.isAvailable }) enum ServerTests {}

/// A database of a test's own, one connection to it, and shorthands.
final class TestDatabase: Sendable {
    let uri: String
    let connection: PostgresConnection
    /// What the server said while it was told to (``countStatements(_:)``).
    private let notices: Notices

    private final class Notices: Sendable {
        let lines = Mutex<[String]>([])
    }

    private init(uri: String, connection: PostgresConnection, notices: Notices) {
        self.uri = uri
        self.connection = connection
        self.notices = notices
    }

    /// A new database with Sluice's own tables and those of `ddl`.
    /// - Parameter options: of CREATE DATABASE.
    static func fresh(_ ddl: String = "", options: String = "") async throws -> TestDatabase {
        let uri = try await TestPostgres.database(options: options)
        let notices = Notices()
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri)) { _, text in
            notices.lines.withLock { $0.append(text) }
        }
        _ = try await connection.perform { session in
            try session.execute("SET synchronous_commit = off")
            try MigrationRunner().apply(session, [OwnSchema.migrations])
            return try session.executeScript(ddl)
        }
        return TestDatabase(uri: uri, connection: connection, notices: notices)
    }

    /// The text of a migration of the example, by the beginning of its name.
    static func migration(_ prefix: String) throws -> String {
        let folder = URL(filePath: TestPostgres.migrations)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        guard let name = names.first(where: { $0.hasPrefix(prefix) }) else { throw CocoaError(.fileNoSuchFile) }
        return try String(contentsOf: folder.appending(path: name), encoding: .utf8)
    }

    /// Another connection to the same database.
    func connect(_ change: (inout PostgresConfiguration) -> Void = { _ in }) async throws -> PostgresConnection {
        var configuration = PostgresConfiguration(uri: uri)
        change(&configuration)
        return try await PostgresConnection.connect(configuration)
    }

    func script(_ sql: String) async throws { _ = try await connection.perform { try $0.executeScript(sql) } }

    /// The first column of a query's rows, as text.
    func rows(_ sql: String) async throws -> [String] {
        try await connection.perform { session in
            let result = try session.execute(sql)
            return try (0..<result.rowCount).map { try result.text($0, 0) }
        }
    }

    /// A lane for a table as the catalogue has it.
    func writer(
        _ shape: TableShape, configuration: ApplyConfiguration? = nil
    ) async throws -> TableWriter {
        let plan = try await connection.perform { session in
            try WritePlan(shape, schema: TableInspector.inspect(shape, on: session))
        }
        return try TableWriter(
            plan: plan, configuration: configuration ?? ApplyConfiguration(group: "g", outcomes: OutcomeTable()),
            poison: PoisonGuard(PoisonLimits()))
    }

    func claim(_ sources: TopicPartition..., member: String = "m") async throws -> [PartitionClaim] {
        try await connection.perform { session in
            try OffsetStore(group: "g").claim(sources.map { ($0, 0) }, member: member, on: session)
        }
    }

    /// The top-level statements the server executed on ``connection`` meanwhile, as it logs them itself.
    func countStatements(_ body: () async throws -> Void) async throws -> [String] {
        try await script("SET client_min_messages = log; SET log_statement = 'all'")
        notices.lines.withLock { $0 = [] }
        try await body()
        let lines = notices.lines.withLock { $0 }
        try await script("RESET client_min_messages; RESET log_statement")
        return lines.filter { $0.contains("execute ") || $0.contains("statement:") }
    }

    /// Waits until a session of this database waits for a lock. On a connection of its own: the others may be those that wait.
    func waitForLockWaiter() async throws {
        let watch = try await connect()
        let query = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
        let isFound = try await eventually(every: .milliseconds(5)) {
            try await watch.perform { try $0.execute(query).rowCount } > 0
        }
        await watch.close()
        if !isFound { throw CancellationError() }
    }

    /// Waits until a query answers true.
    func wait(until sql: String, seconds: Double = 20) async throws {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while try await rows("SELECT coalesce((\(sql)), false)::text") != ["true"] {
            if ContinuousClock.now > deadline { throw CancellationError() }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

extension ApplyOutcome {
    /// The report of a transaction that was applied.
    var report: ApplyReport? { if case .applied(let report) = self { report } else { nil } }
    /// The partitions that were fenced.
    var fenced: [TopicPartition]? { if case .fenced(let partitions) = self { partitions } else { nil } }
    /// The partitions that stop.
    var stopped: [TopicPartition]? { if case .stopped(let partitions, _) = self { partitions } else { nil } }
    /// The connection is gone.
    var isLost: Bool { if case .lost = self { true } else { false } }
    /// One word for it.
    var word: String {
        switch self {
        case .applied: "applied"
        case .fenced: "fenced"
        case .retry(let reason, _): "retry \(reason.rawValue)"
        case .retryHalved: "halved"
        case .refused: "refused"
        case .schemaChanged: "schema changed"
        case .stopped: "stopped"
        case .lost: "lost"
        }
    }
}
