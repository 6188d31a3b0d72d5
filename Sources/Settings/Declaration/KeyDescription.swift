// Owns the description of a key, for the documentation and for the search of the nearest name.

/// When a changed value takes effect.
public enum Reload: String, Sendable {
    /// While the process runs.
    case live
    /// At the next start.
    case restart
}

/// A key as it was declared.
public struct KeyDescription: Sendable {
    /// The key with its sections, `pipeline.memory_budget_bytes`; keys of list items have `[]` after the list's name.
    public let path: String
    /// The kind of value.
    public let type: String
    /// The unit, where the kind does not say it: `rows`, `connections`.
    public let unit: String?
    /// The allowed values; empty: all.
    public let bounds: String
    /// The default as YAML; `nil` for a required key.
    public let defaultText: String?
    /// One or two sentences on what the key does.
    public let help: String
    /// Who may see its value.
    public let secrecy: Secrecy
    /// When a change takes effect.
    public let reload: Reload
    /// The environment variable that sets it, without `_FILE`; `nil` for keys of list items.
    public let environmentName: String?
    /// Further variables, with that name and `_` before theirs, set single entries of it.
    var hasEntryVariables = false
}
