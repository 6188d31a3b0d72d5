// Owns a group of keys under one name, with the rules between them.

/// Keys that are read into one value.
///
/// ```swift
/// struct HTTPSettings: Sendable {
///     var host = "127.0.0.1"
///     var port = 8000
///
///     static let section = Section<HTTPSettings>(
///         "http", help: "The HTTP ingress.",
///         keys: [
///             Key("host", \.host, .string, help: "Address to listen on."),
///             Key("port", \.port, .int(in: 0...65535), help: "Port to listen on; 0: any free one."),
///         ])
/// }
/// ```
public struct Section<Root: Sendable>: Sendable {
    /// The name in the file; empty for the whole file.
    public let name: String
    /// One or two sentences on what the section is for.
    public let help: String
    let keys: [Key<Root>]
    let rules: [Rule<Root>]

    /// Two keys of one name are a programmer error.
    public init(_ name: String, help: String, keys: [Key<Root>], rules: [Rule<Root>] = []) {
        precondition(Set(keys.map(\.name)).count == keys.count, "the section \(name) declares a key twice")
        self.name = name
        self.help = help
        self.keys = keys
        self.rules = rules
    }

    /// A value of the section on one line of YAML.
    func show(_ value: Root, isCovered: Bool) -> String {
        "{" + keys.map { "\($0.name): \($0.show(value, isCovered))" }.joined(separator: ", ") + "}"
    }

    /// Copies the live keys from `fresh`.
    func adopt(_ value: inout Root, _ fresh: Root) {
        for key in keys { key.adopt(&value, fresh) }
    }

    /// Sentences about the rules, here and in nested sections, that do not hold.
    func brokenRules(_ value: Root, scope: String) -> [String] {
        let broken = rules.filter { !$0.holds(value) }.map { rule in
            "\(rule.keys.map { Scope.join(scope, $0) }.joined(separator: ", ")): \(rule.sentence)"
        }
        return broken + keys.flatMap { $0.brokenRules(value, scope) }
    }

    func read(_ value: inout Root, _ scope: Scope, _ reading: inout SettingsReading) {
        let names = keys.map(\.name)
        for entry in scope.entries where !names.contains(entry.key) {
            reading.reportUnknown(entry, in: scope, known: names)
        }
        for key in keys { key.read(&value, scope, &reading) }
        for rule in rules { reading.check(rule, on: value, in: scope) }
    }
}

/// A condition between keys.
public struct Rule<Root: Sendable>: Sendable {
    let keys: [String]
    let sentence: String
    let holds: @Sendable (Root) -> Bool

    /// A condition between keys, checked only when all of them could be read.
    /// - Parameters:
    ///   - keys: the keys of the condition, relative to the section; a fault names the source of the first that is set.
    ///   - sentence: the requirement, beginning with "must" or as a whole sentence, without a full stop; the keys' values are added.
    ///   - holds: the condition.
    public init(_ keys: String..., sentence: String, holds: @escaping @Sendable (Root) -> Bool) {
        precondition(!keys.isEmpty, "a rule names at least one key")
        self.keys = keys
        self.sentence = sentence
        self.holds = holds
    }
}
