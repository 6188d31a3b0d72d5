// Owns the faults of settings: all at once, each with its source and remedy.

/// A fault in the settings.
public struct Fault: Sendable, Hashable, CustomStringConvertible {
    /// The source to correct.
    public let origin: Origin
    /// The key with its sections (`pipeline.memory_budget_bytes`), where the fault belongs to one.
    public let key: String?
    /// What is wrong and what would be right. Never holds a secret.
    public let message: String

    /// A fault in a source.
    public init(_ origin: Origin, key: String? = nil, _ message: String) {
        self.origin = origin
        self.key = key
        self.message = message
    }

    /// `config/sluice.yaml:12: pipeline.memory_budget_bytes: must be at least 1048576, is 12`
    /// Without a source where there is nothing to correct.
    public var description: String {
        [origin == .defaults ? nil : origin.description, key, message].compactMap(\.self).joined(separator: ": ")
    }
}

/// All faults of the settings.
public struct SettingsFaults: Error, Sendable, Equatable, CustomStringConvertible {
    /// At least one, in the order they were found.
    public let faults: [Fault]

    /// Faults in the order they were found.
    public init(_ faults: [Fault]) { self.faults = faults }

    /// One fault a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}
