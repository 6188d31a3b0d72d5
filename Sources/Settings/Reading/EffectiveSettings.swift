// Owns the result of reading settings: the value to run with, and the value and source of each key.

/// The value of a key that is in force.
public struct EffectiveValue: Sendable, Equatable {
    /// The key with its sections.
    public let key: String
    /// The value as YAML, secrets covered.
    public let text: String
    /// The source that set it.
    public let origin: Origin
    /// When a change takes effect.
    public let reload: Reload
    /// Distinguishes values whose covered texts are equal. The hash has a new seed in each process, so it reveals no secret.
    let fingerprint: Int
}

/// Settings that were read without a fault.
public struct EffectiveSettings<Root: Sendable>: Sendable {
    /// The settings to run with.
    public let value: Root
    /// Every key's value in force, in the order of declaration. Lists of sections are one entry.
    public let entries: [EffectiveValue]

    /// The effective configuration as YAML, secrets covered, each followed by its source:
    ///
    /// ```yaml
    /// http:
    ///   host: 127.0.0.1  # default
    ///   port: 8080  # SLUICE_HTTP_PORT
    /// ```
    public var yaml: String {
        var lines: [String] = []
        var open: [Substring] = []
        for entry in entries {
            let parts = entry.key.split(separator: ".")
            let sections = Array(parts.dropLast())
            let shared = zip(open, sections).prefix { $0 == $1 }.count
            for depth in shared..<sections.count {
                lines.append(String(repeating: "  ", count: depth) + "\(sections[depth]):")
            }
            open = sections
            lines.append(String(repeating: "  ", count: sections.count) + "\(parts.last ?? ""): \(entry.text)  # \(entry.origin)")
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
