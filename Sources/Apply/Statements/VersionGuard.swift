// Owns what keeps transactions of a table with a version apart that write the same keys at the same time.

import Postgres
import Records

/// The locks and the check of a transaction of a table with a version.
///
/// `ON CONFLICT` and the conditions on `t` hold for the latest row. But a statement does not see what another transaction has inserted or
/// deleted since it began, or will commit later: a Delete and an older Upsert of one absent key may miss each other. So, before COMMIT, a
/// transaction takes the second lock and looks at its keys again. Of two transactions that missed each other the one that takes it later
/// sees what the other has committed; nobody who has it waits for a row. Where the check fails, the transaction is written again alone: it
/// begins with the first lock, which all others share from their beginning to their end.
struct VersionGuard {
    /// Shares the first lock, or takes it alone: the transaction's first statement.
    let enter: PreparedStatement, enterAlone: PreparedStatement
    /// Shares the second lock, or takes it alone.
    let lock: PreparedStatement, lockAlone: PreparedStatement
    /// The columns of the check's rows; ``parameters`` has their types.
    let columns: [Int]
    /// The element types of the check's arrays: columns, keys, versions, and whether the event is a Delete.
    let parameters: [UInt32]
    /// Raises ``SQLState/versionConflict``; for Upserts that were one statement each.
    let check: String
    /// The same, for Upserts that may have been an update and an insert.
    let thoroughCheck: String

    /// The first keys of the advisory locks: "slVE" and "slVL" in ASCII. The second is the table's hash.
    private static let lockKeys: (Int32, Int32) = (0x736c_5645, 0x736c_564c)

    /// `nil`: the table has no version.
    init?(_ texts: RowTexts) {
        guard let version = texts.version else { return nil }
        func lock(_ key: Int32, _ form: String) -> PreparedStatement {
            PreparedStatement("SELECT pg_advisory_xact_lock\(form)(\(key), hashtext(\(version.relation)))")
        }
        enter = lock(Self.lockKeys.0, "_shared")
        enterAlone = lock(Self.lockKeys.0, "")
        self.lock = lock(Self.lockKeys.1, "_shared")
        lockAlone = lock(Self.lockKeys.1, "")
        columns = texts.shape.key + [version.column]
        let types = columns.map { texts.shape.columns[$0].wireType }
        parameters = types.map(\.oid) + [TypeOID.bytea, TypeOID.int8, TypeOID.bool]
        let arrays = (types.map(\.rawValue) + ["bytea", "int8", "bool"]).enumerated().map { "$\($0 + 1)::\($1)[]" }
        let names = columns.map { "c\($0)" } + ["k", "v", "d"]
        let (own, value) = ("t.\(version.name)", "u.c\(version.column)")
        func rows(_ condition: String, _ match: String) -> String {
            "(SELECT bool_or(\(condition)) FROM \(texts.relation) AS t WHERE \(match))"
        }
        // An older row that a Delete has not seen.
        let survives = rows("\(own) < \(value)", texts.isPresent("u"))
        let tombstone = version.tombstone(of: "u")
        // A row that was inserted without seeing a newer Delete. Where there is no tombstone, no row is looked up.
        let isResurrected =
            "(\(version.hasTombstones) AND (\(tombstone) > u.v) IS TRUE AND \(rows("\(own) = \(value)", texts.isPresent("u"))))"
        // An older row that came between the update and the insert, or no row because one went.
        let isLost =
            "coalesce(\(rows("\(own) IS NULL OR \(own) < \(value)", texts.matches("u"))), (\(tombstone) >= u.v) IS NOT TRUE)"
        func check(_ upsert: String) -> String {
            "SELECT sluice_require_versions(count(*)) FROM unnest(\(arrays.joined(separator: ", "))) "
                + "AS u(\(names.joined(separator: ", "))) WHERE CASE WHEN u.d THEN \(survives) ELSE \(upsert) END"
        }
        self.check = check(isResurrected)
        thoroughCheck = check("\(isResurrected) OR \(isLost)")
    }

    /// Adds the second lock and the check. They come last before COMMIT: nobody who has the lock waits for a row.
    func queue(_ check: VersionCheck, _ pipeline: inout Pipeline) throws {
        try pipeline.execute(check.hasDeletes ? lockAlone : lock)
        try check.statement.queue(&pipeline)
    }
}
