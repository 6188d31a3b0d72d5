// Owns the keys that are no longer declared, and what is said where one is set.

/// Keys of earlier versions.
struct FormerKeys: Sendable {
    /// Former names and the present ones.
    let renamed: [String: String]
    /// Keys that are set elsewhere now, and where.
    let moved: [String: String]

    /// What is wrong with a key in the file; `nil`: it is none of them.
    func sentence(key: String) -> String? {
        if let name = renamed[key] { return "was renamed to \(name); write that" }
        return moved[key].map { "has moved; set \($0)" }
    }

    /// The former key that an environment variable would set, and what is wrong with it.
    func sentence(variable name: String) -> (key: String, sentence: String)? {
        if let (old, new) = renamed.first(where: { Self.isVariable(name, of: $0.key) }) {
            let variable = SettingsSource.environmentName(new) + name.dropFirst(SettingsSource.environmentName(old).count)
            return (old, "was renamed to \(new); set \(variable)")
        }
        guard let (old, place) = moved.first(where: { Self.isVariable(name, of: $0.key) }) else { return nil }
        return (old, "has moved; unset the variable and set \(place)")
    }

    private static func isVariable(_ name: String, of key: String) -> Bool {
        let variable = SettingsSource.environmentName(key)
        return name == variable || name == variable + "_FILE"
    }
}
