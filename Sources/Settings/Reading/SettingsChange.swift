// Owns the difference between two readings of the settings, and the part of it that can take effect while the process runs.

/// A key whose value differs between two readings.
public struct SettingsChange: Sendable, Equatable {
    /// The key with its sections.
    public let key: String
    /// The value before, as YAML, secrets covered.
    public let before: String
    /// The value after, as YAML, secrets covered.
    public let after: String
    /// When the change takes effect.
    public let reload: Reload

    /// The value is covered: both texts are equal.
    public var isSecret: Bool { before == after }
}

extension EffectiveSettings {
    /// The keys whose values differ in a later reading of the same schema, in the order of declaration; sources are not compared.
    public func changes(to later: EffectiveSettings) -> [SettingsChange] {
        let values = Dictionary(entries.map { ($0.key, $0) }) { $1 }
        return later.entries.compactMap { after in
            guard let before = values[after.key], before.fingerprint != after.fingerprint || before.text != after.text else {
                return nil
            }
            return SettingsChange(key: after.key, before: before.text, after: after.text, reload: after.reload)
        }
    }
}

extension SettingsSchema {
    /// `running` with the live keys of `later`.
    /// - Throws: `SettingsFaults` where the combination breaks a rule that each of the two keeps.
    public func adopting(_ later: Root, into running: Root) throws(SettingsFaults) -> Root {
        var value = running
        section.adopt(&value, later)
        let broken = section.brokenRules(value, scope: "")
        guard broken.isEmpty else {
            throw SettingsFaults(
                broken.map {
                    Fault(.defaults, "\($0); with the values of the keys that need a restart this rule does not hold")
                })
        }
        return value
    }
}
