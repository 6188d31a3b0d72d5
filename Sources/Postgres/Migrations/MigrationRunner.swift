// Applies migrations to a database.

internal import Platform

/// Applies migrations, each in one transaction with its row in `sluice_migrations`, one process at a time.
public struct MigrationRunner: Sendable {
    /// Key of the advisory lock under which migrations run: "sluicemg" in ASCII.
    public static let lockKey: Int64 = 0x736c_7569_6365_6d67

    /// How long to wait for another process that migrates.
    public var lockWait: Duration = .seconds(60)
    /// How long one migration may take.
    public var timeout: Duration = .seconds(3600)
    private let applied: @Sendable (Migration) -> Void

    /// - Parameter applied: is told each migration once it is durable.
    public init(applied: @escaping @Sendable (Migration) -> Void = { _ in }) { self.applied = applied }

    /// The migrations that the database lacks, in order. Reads only; `sluice_migrations` need not exist.
    ///
    /// Throws ``MigrationError`` where a file differs from what was applied or the database is newer than the files, and
    /// ``PostgresError``.
    public func pending(_ session: PostgresSession, _ migrations: [Migration]) throws -> [Migration] {
        guard try session.execute("SELECT to_regclass('sluice_migrations') IS NOT NULL").bool(0, 0) else { return migrations }
        let rows = try session.execute("SELECT version, name, checksum FROM sluice_migrations ORDER BY version")
        var applied: [Int32: (name: String, checksum: String)] = [:]
        for row in 0..<rows.rowCount {
            applied[try rows.int32(row, 0)] = (try rows.text(row, 1), try rows.text(row, 2))
        }
        let known = Set(migrations.map(\.version))
        let unknown = applied.keys.filter { !known.contains($0) }.sorted()
        if let version = unknown.first, let row = applied[version] {
            throw MigrationError(
                .newerDatabase,
                "the database has migration \(version) (\(row.name)), which these files do not: a newer release has migrated it; "
                    + "run that release, or restore the database from before it")
        }
        for migration in migrations {
            if let row = applied[migration.version], row.checksum != migration.checksum {
                throw MigrationError(
                    .edited,
                    "\(migration.file) has changed since it was applied (\(row.checksum) then, \(migration.checksum) now): "
                        + "restore the file and put the change into a new migration")
            }
        }
        return migrations.filter { applied[$0.version] == nil }
    }

    /// Applies what is pending and returns it. Other processes that call it at the same time wait.
    ///
    /// The session must not be in a transaction. Its `statement_timeout` and `lock_timeout` are restored.
    @discardableResult
    public func apply(_ session: PostgresSession, _ migrations: [Migration]) throws -> [Migration] {
        let replyTimeout = session.replyTimeout
        let settings = try session.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        let (statement, lock) = (try settings.text(0, 0), try settings.text(0, 1))
        let result = Result { try applyUnderLock(session, migrations) }
        session.replyTimeout = replyTimeout
        if session.transactionStatus != .unknown {
            try session.execute(
                "SELECT set_config('statement_timeout', '\(statement)', false), set_config('lock_timeout', '\(lock)', false)")
        }
        return try result.get()
    }

    private func applyUnderLock(_ session: PostgresSession, _ migrations: [Migration]) throws -> [Migration] {
        session.replyTimeout = max(lockWait, timeout) + .seconds(30)
        try setTimeout(lockWait, session)
        do throws(PostgresError) {
            try session.execute("SELECT pg_advisory_lock(\(Self.lockKey))")
        } catch {
            guard error.sqlState == .queryCanceled else { throw error }
            throw MigrationError(
                .locked,
                "another process has been migrating this database for more than \(lockWait); wait for it, or end it "
                    + "(SELECT pid FROM pg_locks WHERE locktype = 'advisory')", sqlState: error.sqlState, isRetriable: true)
        }
        let result = Result { try applyLocked(session, migrations) }
        // The server releases the lock of a lost connection.
        if session.transactionStatus != .unknown {
            if session.transactionStatus != .idle { try session.rollback() }
            try session.execute("SELECT pg_advisory_unlock(\(Self.lockKey))")
        }
        return try result.get()
    }

    private func applyLocked(_ session: PostgresSession, _ migrations: [Migration]) throws -> [Migration] {
        try setTimeout(timeout, session)
        let pending = try pending(session, migrations)
        guard !pending.isEmpty else { return [] }
        try session.execute(
            """
            CREATE TABLE IF NOT EXISTS sluice_migrations (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now())
            """)
        for migration in pending {
            try apply(one: migration, session)
            applied(migration)
        }
        return pending
    }

    private func apply(one migration: Migration, _ session: PostgresSession) throws {
        do throws(PostgresError) {
            try session.execute("BEGIN")
            try session.executeScript(migration.sql)
        } catch {
            if error.isConnectionLost { throw error }
            throw MigrationError(
                .failed, "\(migration.file) failed and was rolled back: \(error)", sqlState: error.sqlState,
                isRetriable: error.isRetriable)
        }
        guard session.transactionStatus == .inTransaction else {
            throw MigrationError(
                .failed,
                "\(migration.file) ends the transaction it runs in; remove its COMMIT or ROLLBACK, and check what it has done")
        }
        let row = Parameters()
        row.append(int4: migration.version)
        row.append(text: migration.name)
        row.append(text: migration.checksum)
        try session.execute("INSERT INTO sluice_migrations (version, name, checksum) VALUES ($1, $2, $3)", row)
        try session.commit()
    }

    private func setTimeout(_ duration: Duration, _ session: PostgresSession) throws(PostgresError) {
        try session.execute(
            "SELECT set_config('statement_timeout', '\(duration.milliseconds)', false), set_config('lock_timeout', '0', false)")
    }
}
