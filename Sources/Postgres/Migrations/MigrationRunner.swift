// Applies migrations to a database.

internal import Platform

/// Applies migrations, each in one transaction with the row that records it, one process at a time.
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

    /// The migrations that the database lacks, set by set, each in order. Reads only; the tables that record them need not exist.
    ///
    /// Throws ``MigrationError`` where a file differs from what was applied, a number cannot be used any more or the database is newer, and
    /// ``PostgresError``.
    public func pending(_ session: PostgresSession, _ sets: [MigrationSet]) throws -> [Migration] {
        try sets.flatMap { try $0.pending(on: session) }
    }

    /// Applies what is pending, set by set, and returns it. Other processes that call it at the same time wait. Nothing is applied where
    /// ``pending(_:_:)`` throws.
    ///
    /// The session must not be in a transaction. Its `statement_timeout` and `lock_timeout` are restored.
    @discardableResult
    public func apply(_ session: PostgresSession, _ sets: [MigrationSet]) throws -> [Migration] {
        let replyTimeout = session.replyTimeout
        let settings = try session.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        let (statement, lock) = (try settings.text(0, 0), try settings.text(0, 1))
        let result = Result { try applyUnderLock(session, sets) }
        session.replyTimeout = replyTimeout
        if session.transactionStatus != .unknown {
            try session.execute(
                "SELECT set_config('statement_timeout', '\(statement)', false), set_config('lock_timeout', '\(lock)', false)")
        }
        return try result.get()
    }

    private func applyUnderLock(_ session: PostgresSession, _ sets: [MigrationSet]) throws -> [Migration] {
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
        let result = Result { try applyLocked(session, sets) }
        // The server releases the lock of a lost connection.
        if session.transactionStatus != .unknown {
            if session.transactionStatus != .idle { try session.rollback() }
            try session.execute("SELECT pg_advisory_unlock(\(Self.lockKey))")
        }
        return try result.get()
    }

    private func applyLocked(_ session: PostgresSession, _ sets: [MigrationSet]) throws -> [Migration] {
        try setTimeout(timeout, session)
        let pending = try sets.map { try $0.pending(on: session) }
        for (set, migrations) in zip(sets, pending) where !migrations.isEmpty {
            try set.makeTable(on: session)
            for migration in migrations {
                try apply(migration, of: set, session)
                applied(migration)
            }
        }
        return pending.flatMap(\.self)
    }

    private func apply(_ migration: Migration, of set: MigrationSet, _ session: PostgresSession) throws {
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
        try set.record(migration, on: session)
        try session.commit()
    }

    private func setTimeout(_ duration: Duration, _ session: PostgresSession) throws(PostgresError) {
        try session.execute(
            "SELECT set_config('statement_timeout', '\(duration.milliseconds)', false), set_config('lock_timeout', '0', false)")
    }
}
