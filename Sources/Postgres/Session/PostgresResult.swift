// Owns the result of a statement: command tag, row count, and values in binary form.

internal import CPq
internal import Records

/// The result of one statement. Rows and columns are counted from 0; values are in PostgreSQL's binary form.
public final class PostgresResult: Sendable {
    private let handle: ResultHandle

    init(_ handle: consuming ResultHandle) { self.handle = handle }

    /// `INSERT 0 5`, `COMMIT`, `ROLLBACK`, …
    public var commandTag: String { String(cString: PQcmdStatus(handle.pointer)) }
    /// Rows that INSERT, UPDATE, DELETE or MERGE wrote or SELECT returned; 0 for other commands.
    public var affectedRows: Int { Int(String(cString: PQcmdTuples(handle.pointer))) ?? 0 }
    /// Rows of the result.
    public var rowCount: Int { Int(PQntuples(handle.pointer)) }
    /// Columns of the result.
    public var columnCount: Int { Int(PQnfields(handle.pointer)) }
    /// The type of a column (`pg_type.oid`).
    public func columnType(_ column: Int) -> UInt32 { PQftype(handle.pointer, Int32(column)) }
    /// The name of a column.
    public func columnName(_ column: Int) -> String { PQfname(handle.pointer, Int32(column)).map { String(cString: $0) } ?? "" }

    /// Whether a value is NULL.
    public func isNull(_ row: Int, _ column: Int) -> Bool {
        check(row, column)
        return PQgetisnull(handle.pointer, Int32(row), Int32(column)) == 1
    }

    /// Calls `body` with a value's bytes, `nil` for NULL. They are valid during the call.
    public func withBytes<R, Failure: Error>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer?) throws(Failure) -> R
    ) throws(Failure) -> R {
        if isNull(row, column) { return try body(nil) }
        let length = Int(PQgetlength(handle.pointer, Int32(row), Int32(column)))
        return try body(UnsafeRawBufferPointer(start: PQgetvalue(handle.pointer, Int32(row), Int32(column)), count: length))
    }

    /// An int2 or int4. Throws for NULL and for anything else.
    public func int32(_ row: Int, _ column: Int) throws(PostgresError) -> Int32 {
        let value = try int64(row, column)
        guard let narrow = Int32(exactly: value) else { throw mismatch(column, "an int4") }
        return narrow
    }

    /// An int2, int4, int8 or oid, and the raw form of date and timestamptz. Throws for NULL and for other sizes.
    public func int64(_ row: Int, _ column: Int) throws(PostgresError) -> Int64 {
        try withBytes(row, column) { bytes throws(PostgresError) in
            switch bytes?.count {
            case 2: Int64(Int16(bigEndian: bytes!.loadUnaligned(as: Int16.self)))
            case 4:
                columnType(column) == TypeOID.oid
                    ? Int64(UInt32(bigEndian: bytes!.loadUnaligned(as: UInt32.self)))
                    : Int64(Int32(bigEndian: bytes!.loadUnaligned(as: Int32.self)))
            case 8: Int64(bigEndian: bytes!.loadUnaligned(as: Int64.self))
            default: throw mismatch(column, "an integer")
            }
        }
    }

    /// A bool. Throws for NULL.
    public func bool(_ row: Int, _ column: Int) throws(PostgresError) -> Bool {
        try withBytes(row, column) { bytes throws(PostgresError) in
            guard let bytes, bytes.count == 1 else { throw mismatch(column, "a bool") }
            return bytes[0] != 0
        }
    }

    /// A text, varchar, name, json or other value whose binary form is its text. Throws for NULL.
    public func text(_ row: Int, _ column: Int) throws(PostgresError) -> String {
        try withBytes(row, column) { bytes throws(PostgresError) in
            guard let bytes else { throw mismatch(column, "a text") }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The bytes of a value, whatever its type. Throws for NULL.
    public func bytes(_ row: Int, _ column: Int) throws(PostgresError) -> [UInt8] {
        try withBytes(row, column) { bytes throws(PostgresError) in
            guard let bytes else { throw mismatch(column, "a value") }
            return Array(bytes)
        }
    }

    /// Throws unless the command tag is `tag`: COMMIT on a failed transaction answers OK, with the tag ROLLBACK.
    public func requireTag(_ tag: String) throws(PostgresError) {
        if commandTag == tag { return }
        throw PostgresError(
            .server, "\(tag) answered \(commandTag): the transaction had failed before, nothing was written",
            sqlState: .inFailedTransaction)
    }

    private func check(_ row: Int, _ column: Int) {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount, "no such value in the result")
    }

    private func mismatch(_ column: Int, _ wanted: String) -> PostgresError {
        PostgresError(
            .protocolViolation, "column \(columnName(column)) is not \(wanted) or is NULL (its type is \(columnType(column)))")
    }
}

/// Identifiers of built-in types (`pg_type.oid`).
public enum TypeOID {
    /// bool
    public static let bool: UInt32 = 16
    /// bytea
    public static let bytea: UInt32 = 17
    /// int8
    public static let int8: UInt32 = 20
    /// int2
    public static let int2: UInt32 = 21
    /// int4
    public static let int4: UInt32 = 23
    /// text
    public static let text: UInt32 = 25
    /// oid
    public static let oid: UInt32 = 26
    /// date
    public static let date: UInt32 = 1082
    /// timestamptz
    public static let timestamptz: UInt32 = 1184
    /// int4[]
    public static let int4Array: UInt32 = 1007
    /// text[]
    public static let textArray: UInt32 = 1009
    /// int8[]
    public static let int8Array: UInt32 = 1016

    /// The array type of an element type; 0, which lets the server infer it, for types that no column of a mapping has.
    public static func array(of element: UInt32) -> UInt32 {
        ColumnType.allCases.first { $0.oid == element }?.arrayOID ?? 0
    }
}
