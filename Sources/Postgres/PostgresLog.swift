// What this room tells a log: a level and a sentence.

/// How much a sentence for the log matters.
public enum PostgresLogLevel: String, Sendable, CaseIterable {
    case debug, info, warning, error
}

/// Takes sentences for the log, from any thread.
public typealias PostgresLog = @Sendable (PostgresLogLevel, String) -> Void
