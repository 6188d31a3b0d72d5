// Owns what may be applied to a database next: a sequence of migrations against the table that records them.

internal import Records

/// A sequence of migrations, and the table that records which of them a database has.
public struct MigrationSet: Sendable {
    private enum Kind {
        /// Files, recorded in `sluice_migrations` with their checksums.
        case files(retired: Set<String>)
        /// Texts of the program, recorded by number. `marks`: the relations that show that a database from before the table has a step.
        case program(table: String, marks: [Int32: String])
    }

    /// In the order of their numbers.
    public let migrations: [Migration]
    private let kind: Kind

    /// Files of a directory, recorded in `sluice_migrations`: a file must not change once it was applied.
    /// - Parameter retired: checksums of files that once belonged to the sequence. Rows with them are ignored, and their numbers stay taken.
    public static func files(_ migrations: [Migration], retired: Set<String> = []) -> MigrationSet {
        MigrationSet(migrations: migrations, kind: .files(retired: retired))
    }

    /// Texts of the program, numbered from 1 without gaps and recorded by number in `table`.
    /// - Parameter marks: relations by step. A database without `table` that has the relation of a step has the step: it is recorded, and
    ///   not executed.
    public static func program(_ migrations: [Migration], table: String, marks: [Int32: String] = [:]) -> MigrationSet {
        MigrationSet(migrations: migrations, kind: .program(table: table, marks: marks))
    }

    // MARK: What a database has

    /// Those that the database lacks, in order. Reads only.
    func pending(on session: PostgresSession) throws -> [Migration] {
        switch kind {
        case .files(let retired): try pendingFiles(session, retired)
        case .program(let table, let marks): try pendingSteps(session, table, marks)
        }
    }

    private func pendingFiles(_ session: PostgresSession, _ retired: Set<String>) throws -> [Migration] {
        guard try Self.exists("sluice_migrations", session) else { return migrations }
        let rows = try session.execute("SELECT version, name, checksum FROM sluice_migrations ORDER BY version")
        var applied: [Int32: (name: String, checksum: String)] = [:]
        var taken: Set<Int32> = []
        for row in 0..<rows.rowCount {
            let (version, checksum) = (try rows.int32(row, 0), try rows.text(row, 2))
            if retired.contains(checksum) {
                taken.insert(version)
            } else {
                applied[version] = (try rows.text(row, 1), checksum)
            }
        }
        let known = Set(migrations.map(\.version))
        if let version = applied.keys.filter({ !known.contains($0) }).min(), let row = applied[version] {
            throw MigrationError(
                .newerDatabase,
                "the database has migration \(version) (\(row.name)), which these files do not: newer files have migrated it; "
                    + "use those, or restore the database from before it")
        }
        let last = migrations.last { applied[$0.version] != nil }
        for migration in migrations {
            if let row = applied[migration.version] {
                guard row.checksum == migration.checksum else {
                    throw MigrationError(
                        .edited,
                        "\(migration.file) has changed since it was applied (\(row.checksum) then, \(migration.checksum) now): "
                            + "restore the file and put the change into a new migration")
                }
            } else if taken.contains(migration.version) {
                throw MigrationError(
                    .misnumbered,
                    "\(migration.file) has the number of a migration that this database had of Sluice itself; give it a higher number"
                )
            } else if let last, migration.version < last.version {
                throw MigrationError(
                    .misnumbered,
                    "\(migration.file) was added before an applied one, \(last.file); give it a higher number")
            }
        }
        return migrations.filter { applied[$0.version] == nil }
    }

    private func pendingSteps(_ session: PostgresSession, _ table: String, _ marks: [Int32: String]) throws -> [Migration] {
        let applied: Set<Int32>
        if try Self.exists(table, session) {
            let rows = try session.execute("SELECT version FROM \(table)")
            applied = Set(try (0..<rows.rowCount).map { try rows.int32($0, 0) })
        } else {
            applied = try Self.marked(marks, session)
        }
        let known = migrations.last?.version ?? 0
        if let version = applied.max(), version > known {
            throw MigrationError(
                .newerDatabase,
                "the database is at version \(version) of \(table), and this program knows version \(known): "
                    + "run the newer program, or restore the database from before its upgrade")
        }
        return migrations.filter { !applied.contains($0.version) }
    }

    // MARK: Recording

    /// Makes the table where there is none, with the steps that the database has.
    func makeTable(on session: PostgresSession) throws {
        switch kind {
        case .files:
            try session.execute(
                """
                CREATE TABLE IF NOT EXISTS sluice_migrations (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now())
                """)
        case .program(let table, let marks):
            guard try !Self.exists(table, session) else { return }
            // One transaction: a table without these rows would be taken for that of an empty database.
            try session.transaction {
                try session.execute(
                    "CREATE TABLE \(table) (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
                for version in try Self.marked(marks, session).sorted() {
                    try session.execute("INSERT INTO \(table) (version) VALUES (\(version))")
                }
            }
        }
    }

    /// Records a migration, in the transaction that applies it.
    func record(_ migration: Migration, on session: PostgresSession) throws {
        let row = Parameters()
        row.append(int4: migration.version)
        switch kind {
        case .files:
            row.append(text: migration.name)
            row.append(text: migration.checksum)
            try session.execute("INSERT INTO sluice_migrations (version, name, checksum) VALUES ($1, $2, $3)", row)
        case .program(let table, _):
            try session.execute("INSERT INTO \(table) (version) VALUES ($1)", row)
        }
    }

    private static func exists(_ relation: String, _ session: PostgresSession) throws -> Bool {
        try session.execute("SELECT to_regclass('\(relation)') IS NOT NULL").bool(0, 0)
    }

    private static func marked(_ marks: [Int32: String], _ session: PostgresSession) throws -> Set<Int32> {
        Set(try marks.filter { try exists($0.value, session) }.keys)
    }
}
