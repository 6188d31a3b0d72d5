// The levels of log lines, and the two forms a line can have.

/// How important a log line is. Nothing that happens once a record is logged.
public enum LogLevel: String, Sendable, CaseIterable, Comparable {
    /// For examining a problem.
    case debug
    /// Starts, stops, changes of state.
    case info
    /// Something is wrong, and the process copes with it.
    case warning
    /// An operator must act.
    case error

    /// In the order of the cases.
    public static func < (a: LogLevel, b: LogLevel) -> Bool { a.weight < b.weight }

    /// The position among `allCases`.
    var weight: Int { Self.allCases.firstIndex(of: self)! }
}

/// Takes log messages of a library. Several threads may call it at once; it must not block.
public typealias LogHandler = @Sendable (LogLevel, String) -> Void

/// The form of a log line.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-01-31T12:00:00.000Z info    sluice.kafka Partitions assigned. topic=messages partitions=3`
    case text
    /// One JSON object a line with `time`, `level`, `label`, `message` and the metadata.
    case json
}
