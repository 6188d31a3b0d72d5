// Owns the versions of Sluice's own tables, which the program brings along.

public import Postgres

/// Sluice's own tables: their steps, numbered apart from the user's migrations and recorded in `sluice_schema`.
public enum OwnSchema {
    /// The steps, as migrations. A database from before `sluice_schema` is taken over as it is: its tables show which steps it has.
    public static let migrations = MigrationSet.program(
        steps, table: "sluice_schema", marks: [1: "sluice_offsets", 2: "sluice_pauses"])

    /// Checksums of steps 1 and 2 as the files that they once were among the user's migrations, `0003_sluice.sql` and
    /// `0004_pauses.sql`. Such files, and their rows in `sluice_migrations`, are ignored.
    public static let formerFiles: Set<String> = ["fnv1a64:5e006b581d3305bd", "fnv1a64:e26d2a0a88b88f19"]

    private static let steps = [
        offsetsAndDeadLetters, pauses, deadLetterDetails, tableVersion, lastRecords, tombstones,
    ].enumerated().map { index, sql in
        // The ellipsis stands in a comment. Encodings such as LATIN1 do not have it, and the server would not even read the step.
        Migration(
            version: Int32(index + 1), name: "step \(index + 1)", file: "sluice_schema step \(index + 1)",
            sql: sql.split(separator: "…", omittingEmptySubsequences: false).joined(separator: "..."))
    }
}
