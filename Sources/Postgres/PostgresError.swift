// Holds the error of this module: what failed, the server's or libpq's message, and whether the connection is lost.

/// A failure of PostgreSQL, libpq or this module.
///
/// The description never contains parameter values, the connection string or ``detail``, which may quote rows.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable {
        /// The connection could not be made, or is lost. The outcome of what was sent is unknown.
        case connection
        /// The server refused a statement; the connection lives.
        case server
        /// The server's answer was unexpected, or a value does not have the requested type.
        case protocolViolation
        /// The server did not answer in time. The connection has been closed; the outcome of what was sent is unknown.
        case timeout
        /// The connection string or a setting is wrong.
        case configuration
        /// The connection was closed or abandoned by its owner.
        case closed
    }

    /// What kind of failure it is.
    public let code: Code
    /// The server's SQLSTATE; `nil` where the failure did not come from the server.
    public let sqlState: SQLState?
    /// The server's primary message, or ours.
    public let message: String
    /// The server's detail. It may quote rows: never log it.
    public var detail: String?
    /// The server's hint.
    public var hint: String?
    /// The constraint the server names.
    public var constraint: String?
    /// The table the server names.
    public var table: String?
    /// The column the server names.
    public var column: String?
    /// In a pipeline, which of the queued commands failed, from 0.
    public var commandIndex: Int?
    /// The connection cannot be used any more. The outcome of what was sent is unknown.
    public let isConnectionLost: Bool

    /// An error; `isConnectionLost` follows from the code unless given.
    public init(_ code: Code, _ message: String, sqlState: SQLState? = nil, isConnectionLost: Bool? = nil) {
        self.code = code
        self.message = message
        self.sqlState = sqlState
        switch code {
        case .connection, .timeout, .closed: self.isConnectionLost = isConnectionLost ?? true
        case .server, .protocolViolation, .configuration: self.isConnectionLost = isConnectionLost ?? false
        }
    }

    /// Whether retrying later can help without a change. For rows, Apply's `OutcomeTable` is more exact.
    public var isRetriable: Bool {
        guard let sqlState else { return code == .connection || code == .timeout }
        if ["08", "40", "53"].contains(sqlState.classCode) { return true }
        switch sqlState {
        case .lockNotAvailable, .queryCanceled, .adminShutdown, .crashShutdown, .cannotConnectNow, SQLState("25006"),
            SQLState("25P03"), SQLState("58030"):
            return true
        default: return false
        }
    }

    /// Code, SQLSTATE, message and the names the server gave, in one line.
    public var description: String {
        var text = "PostgreSQL \(code.rawValue)"
        if let sqlState { text += " \(sqlState.rawValue)" }
        text += ": " + message
        let names = [("table", table), ("column", column), ("constraint", constraint)]
            .compactMap { name, value in value.map { "\(name) \($0)" } }
        if !names.isEmpty { text += " (" + names.joined(separator: ", ") + ")" }
        if let hint { text += "; hint: " + hint }
        return text
    }

    static func closed(_ what: String = "the connection was closed by its owner") -> PostgresError {
        PostgresError(.closed, what)
    }
}
