// Names the function that takes the log lines of a connection.

/// Severity of a log line.
public enum PostgresLogLevel: String, Sendable, CaseIterable {
    case debug, info, warning, error
}

/// Takes a message for the log, from any thread.
public typealias PostgresLog = @Sendable (PostgresLogLevel, String) -> Void
