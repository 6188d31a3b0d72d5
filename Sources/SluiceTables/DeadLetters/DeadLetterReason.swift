// Owns the reasons that dead letters are stored and counted under.

/// Reasons of dead letters: `decode:` and the decoder's reason, or `sql:` and the kind of refusal. Few, so that they can be metric labels.
public enum DeadLetterReason {
    /// Names by state, then by class.
    private static let names: [String: String] = [
        "23502": "not_null", "23503": "foreign_key", "23505": "unique", "23514": "check", "23P01": "exclusion",
        "21": "cardinality", "22": "data", "23": "integrity", "54": "limit", "P0": "raised",
    ]

    /// Every `sql:` name there is, for counters that start at 0.
    public static let allSQL: [String] = Set(names.values).union(["other"]).map { "sql:" + $0 }.sorted()

    /// The name for a refusal by SQL.
    public static func sql(_ state: String) -> String {
        "sql:" + (names[state] ?? names[String(state.prefix(2))] ?? "other")
    }

    /// The name for a decoder's fault.
    public static func decode(_ reason: String) -> String { "decode:" + reason }

    /// The name for a value beyond the length, precision or range of its column.
    public static let outOfRange = decode("out_of_range")
}
