// Owns the settings of a program: every declared key, and reading the sources into one checked value.

/// All keys of a program.
public struct SettingsSchema<Root: Sendable>: Sendable {
    let section: Section<Root>
    let defaults: Root
    /// Every key as it was declared, in order; keys of list items have `[]` after the list's name.
    public let keys: [KeyDescription]
    private let former: FormerKeys

    /// All keys of a program. Two keys that one environment variable would set are a programmer error.
    /// - Parameters:
    ///   - section: the file's top level; its name is empty.
    ///   - defaults: the values of keys that no source sets.
    ///   - renamed: former names of keys and the present ones; setting a former name is a fault that names the present one.
    ///   - moved: former keys that are set elsewhere now, and where, such as "write: in the mapping file".
    public init(_ section: Section<Root>, defaults: Root, renamed: [String: String] = [:], moved: [String: String] = [:]) {
        precondition(section.name.isEmpty, "the top level has no name")
        self.section = section
        self.defaults = defaults
        former = FormerKeys(renamed: renamed, moved: moved)
        keys = section.keys.flatMap { $0.describe("", false, defaults) }
        let variables = keys.compactMap(\.environmentName)
        for (index, name) in variables.enumerated() {
            precondition(!variables[..<index].contains(name), "two keys would be set by \(name)")
            precondition(!variables.contains(name + "_FILE"), "\(name)_FILE would be a key and the file of another key")
        }
        let paths = Set(keys.map(\.path))
        precondition(
            renamed.allSatisfy { !paths.contains($0.key) && paths.contains($0.value) },
            "a renamed key must lead to a declared one")
        precondition(
            moved.keys.allSatisfy { !paths.contains($0) && renamed[$0] == nil }, "a key that has moved is still declared")
    }

    /// The settings, with faulty keys at their defaults, and all faults: for a caller with further checks, so that all faults can be
    /// shown at once.
    public func survey(_ source: SettingsSource) -> (settings: EffectiveSettings<Root>, faults: [Fault]) {
        var reading = SettingsReading(source, known: keys, former: former)
        var value = defaults
        let scope = reading.top(source, known: section.keys.map(\.name))
        section.read(&value, scope, &reading)
        reading.checkNames()
        return (EffectiveSettings(value: value, entries: reading.effective), reading.faults)
    }
}

extension SettingsReading {
    /// The scope of the whole file; an empty file sets nothing.
    fileprivate mutating func top(_ source: SettingsSource, known names: [String]) -> Scope {
        guard let file = source.file else {
            return Scope(path: "", entries: [], origin: .defaults, isOverlaid: true, directory: source.directory)
        }
        let inner = item("", file, directory: source.directory, known: names)
        return Scope(
            path: "", entries: inner.entries, origin: .file(file.file, line: nil), isOverlaid: true, directory: source.directory)
    }
}
