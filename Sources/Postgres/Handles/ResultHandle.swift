// Owns one PGresult.

internal import CPq

/// One `PGresult`; cleared when it goes.
struct ResultHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: "A PGresult is normally read-only after creation, and so can be passed around freely between
    // threads" (libpq manual, Behavior in Threaded Programs). Nothing here writes to it.

    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }

    /// A field of the server's error or notice, by its code in postgres_ext.h.
    func field(_ code: DiagnosticField) -> String? { ResultHandle.field(pointer, code) }

    static func field(_ pointer: OpaquePointer?, _ code: DiagnosticField) -> String? {
        PQresultErrorField(pointer, code.rawValue).map { String(cString: $0) }
    }

    /// The error of a result whose status says that there is one.
    func error() -> PostgresError {
        let state = field(.sqlState).map { SQLState($0) }
        let message = field(.primary) ?? firstLine(String(cString: PQresultErrorMessage(pointer)))
        var error = PostgresError(.server, message, sqlState: state)
        error.detail = field(.detail)
        error.hint = field(.hint)
        error.constraint = field(.constraint)
        error.table = field(.table)
        error.column = field(.column)
        return error
    }
}

/// Fields of an error or notice (`PG_DIAG_…` in postgres_ext.h).
enum DiagnosticField: Int32 {
    case severity = 0x56  // 'V', never translated
    case sqlState = 0x43  // 'C'
    case primary = 0x4D  // 'M'
    case detail = 0x44  // 'D'
    case hint = 0x48  // 'H'
    case table = 0x74  // 't'
    case column = 0x63  // 'c'
    case constraint = 0x6E  // 'n'
}

/// The first line of a libpq message, without the rest and without line ends.
func firstLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).first.map(String.init) ?? "no message"
}
