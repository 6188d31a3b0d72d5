// Owns what is said about settings that are wrong: all of it at once, each fault with its place and remedy.

/// One thing that is wrong with the settings.
public struct Fault: Sendable, Hashable, CustomStringConvertible {
    /// Where to correct it.
    public let origin: Origin
    /// The key with its sections (`pipeline.memory_budget_bytes`), where the fault belongs to one.
    public let key: String?
    /// What is wrong and what would be right. Never holds a secret.
    public let message: String

    /// A fault at a place.
    public init(_ origin: Origin, key: String? = nil, _ message: String) {
        self.origin = origin
        self.key = key
        self.message = message
    }

    /// `config/sluice.yaml:12: pipeline.memory_budget_bytes: must be at least 1048576, is 12`
    /// Without a place where there is no file to correct.
    public var description: String {
        [origin == .defaults ? nil : origin.description, key, message].compactMap(\.self).joined(separator: ": ")
    }
}

/// Everything that is wrong with the settings.
public struct SettingsFaults: Error, Sendable, Equatable, CustomStringConvertible {
    /// At least one, in the order they were found.
    public let faults: [Fault]

    /// Faults in the order they were found.
    public init(_ faults: [Fault]) { self.faults = faults }

    /// One fault a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}
