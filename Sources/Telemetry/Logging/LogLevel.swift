// Owns how much a log line matters, and the two forms a line can take.

/// How much a log line matters. Nothing is logged once per record.
public enum LogLevel: String, Sendable, CaseIterable, Comparable {
    /// What an engineer wants while looking at a problem.
    case debug
    /// What an operator wants to read afterwards: starts, stops, changes of state.
    case info
    /// Something is wrong and the process copes.
    case warning
    /// Somebody must act.
    case error

    /// By weight.
    public static func < (a: LogLevel, b: LogLevel) -> Bool { a.weight < b.weight }

    var weight: Int {
        switch self {
        case .debug: 0
        case .info: 1
        case .warning: 2
        case .error: 3
        }
    }
}

/// The form of a log line.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-01-31T12:00:00.000Z info    sluice.kafka Partition assigned topic=messages partition=3`
    case text
    /// One JSON object a line with `time`, `level`, `label`, `message` and the metadata beside them.
    case json
}
