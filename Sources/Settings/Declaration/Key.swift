// Owns the declaration of one key, from which reading, checking, display and documentation follow.

/// A key of a section: a leaf with a value of some kind, a section within the section, or a list of sections.
public struct Key<Root: Sendable>: Sendable {
    let name: String
    let describe: @Sendable (_ scope: String, _ isItem: Bool, _ defaults: Root) -> [KeyDescription]
    let read: @Sendable (inout Root, Scope, inout SettingsReading) -> Void
    /// The value as YAML, with secrets covered, or, to detect changes, in clear text.
    let show: @Sendable (Root, _ isCovered: Bool) -> String
    /// Copies the value from `fresh` where the key is live.
    let adopt: @Sendable (inout Root, _ fresh: Root) -> Void
    /// Sentences about rules of nested sections that do not hold.
    let brokenRules: @Sendable (Root, _ scope: String) -> [String]
    /// The help of nested sections, by path, for headings.
    let headings: @Sendable (_ scope: String) -> [(path: String, help: String)]

    /// A value.
    /// - Parameters:
    ///   - name: the key in the file: lower case, words parted by `_`. It must not end in `_file`: `SLUICE_…_FILE` reads a value
    ///     from a file.
    ///   - path: the property that is set; its value before is the default.
    ///   - kind: how it is read and bounded.
    ///   - unit: the unit, where neither name nor kind says it.
    ///   - help: one or two sentences.
    ///   - secrecy: who may see it.
    ///   - isRequired: the key has no default and must be set.
    ///   - reload: when a change takes effect.
    public init<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ kind: ValueKind<Value>, unit: String? = nil,
        help: String, secrecy: Secrecy = .open, isRequired: Bool = false, reload: Reload = .restart
    ) {
        precondition(!name.hasSuffix("_file"), "the key \(name) must not end in _file")
        precondition(!name.isEmpty && !name.contains("."), "\"\(name)\" is not a key")
        self.name = name
        show = { root, isCovered in kind.show(root[keyPath: path], isCovered ? secrecy : nil) }
        adopt = { root, fresh in
            if reload == .live { root[keyPath: path] = fresh[keyPath: path] }
        }
        brokenRules = { _, _ in [] }
        let show = self.show
        headings = { _ in [] }
        describe = { scope, isItem, defaults in
            let full = Scope.join(scope, name)
            return [
                KeyDescription(
                    path: full, type: kind.typeName, unit: unit, bounds: kind.bounds,
                    defaultText: isRequired ? nil : kind.show(defaults[keyPath: path], secrecy), help: help, secrecy: secrecy,
                    reload: reload, environmentName: isItem ? nil : SettingsSource.environmentName(full))
            ]
        }
        read = { root, scope, reading in
            let key = Scope.join(scope.path, name)
            guard let written = reading.written(key, name, scope) else {
                root[keyPath: path] = kind.settle(root[keyPath: path], scope.directory)
                if isRequired && !reading.isFaulty(key) { reading.reportMissing(key, scope) }
                reading.note(key, root, show, .defaults, reload)
                return
            }
            var value = ValueReading(key: key, origin: written.origin, secrecy: secrecy, directory: written.directory)
            if let parsed = kind.parse(written.raw, &value) { root[keyPath: path] = parsed }
            reading.report(value.faults)
            reading.note(key, root, show, written.origin, reload)
        }
    }

    private init(
        name: String, describe: @escaping @Sendable (String, Bool, Root) -> [KeyDescription],
        read: @escaping @Sendable (inout Root, Scope, inout SettingsReading) -> Void,
        show: @escaping @Sendable (Root, Bool) -> String, adopt: @escaping @Sendable (inout Root, Root) -> Void,
        brokenRules: @escaping @Sendable (Root, String) -> [String],
        headings: @escaping @Sendable (String) -> [(path: String, help: String)]
    ) {
        self.name = name
        self.describe = describe
        self.read = read
        self.show = show
        self.adopt = adopt
        self.brokenRules = brokenRules
        self.headings = headings
    }

    /// A section within this one, under the section's own name.
    public static func section<Value: Sendable>(
        _ path: any WritableKeyPath<Root, Value> & Sendable, _ section: Section<Value>
    ) -> Key {
        Key(
            name: section.name,
            describe: { scope, isItem, defaults in
                section.keys.flatMap { $0.describe(Scope.join(scope, section.name), isItem, defaults[keyPath: path]) }
            },
            read: { root, scope, reading in
                let inner = reading.entered(section.name, scope, known: section.keys.map(\.name))
                section.read(&root[keyPath: path], inner, &reading)
            },
            show: { root, isCovered in section.show(root[keyPath: path], isCovered: isCovered) },
            adopt: { root, fresh in section.adopt(&root[keyPath: path], fresh[keyPath: path]) },
            brokenRules: { root, scope in section.brokenRules(root[keyPath: path], scope: Scope.join(scope, section.name)) },
            headings: { scope in
                let full = Scope.join(scope, section.name)
                return [(full, section.help)] + section.keys.flatMap { $0.headings(full) }
            })
    }

    /// A list of sections, each read into a copy of `fresh`. In YAML a sequence of mappings; in the environment the same in YAML's flow
    /// style: `[{name: a, rate: 1}, {name: b, rate: 2}]`.
    public static func sections<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Root, [Value]> & Sendable, each section: Section<Value>, fresh: Value,
        help: String,
        reload: Reload = .restart
    ) -> Key {
        precondition(!name.hasSuffix("_file"), "the key \(name) must not end in _file")
        let show: @Sendable (Root, Bool) -> String = { root, isCovered in
            "[" + root[keyPath: path].map { section.show($0, isCovered: isCovered) }.joined(separator: ", ") + "]"
        }
        return Key(
            name: name,
            describe: { scope, isItem, defaults in
                let full = Scope.join(scope, name)
                let list = KeyDescription(
                    path: full, type: "list of sections", unit: nil, bounds: "", defaultText: show(defaults, true), help: help,
                    secrecy: .open, reload: reload, environmentName: isItem ? nil : SettingsSource.environmentName(full))
                return [list] + section.keys.flatMap { $0.describe(full + "[]", true, fresh) }
            },
            read: { root, scope, reading in
                let key = Scope.join(scope.path, name)
                let written = reading.written(key, name, scope)
                if let written, let nodes = reading.items(written, key: key) {
                    root[keyPath: path] = nodes.enumerated().map { index, node in
                        var value = fresh
                        let item = reading.item(
                            "\(key)[\(index)]", node, directory: written.directory, known: section.keys.map(\.name))
                        section.read(&value, item, &reading)
                        return value
                    }
                    reading.removeItems(prefix: key + "[")
                }
                reading.note(key, root, show, written?.origin ?? .defaults, reload)
            },
            show: show,
            adopt: { root, fresh in
                if reload == .live { root[keyPath: path] = fresh[keyPath: path] }
            }, brokenRules: { _, _ in [] }, headings: { _ in [] })
    }
    /// Sections under free names, each read into a copy of `fresh`. In YAML a mapping of mappings; in the environment the same in YAML's flow style:
    /// `{a: {rate: 1}, b: {rate: 2}}`.
    public static func namedSections<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Root, [String: Value]> & Sendable, each section: Section<Value>, fresh: Value,
        help: String, reload: Reload = .restart
    ) -> Key {
        precondition(!name.hasSuffix("_file"), "the key \(name) must not end in _file")
        let show: @Sendable (Root, Bool) -> String = { root, isCovered in
            let shown = root[keyPath: path].sorted { $0.key < $1.key }.map { name, value in
                "\(Shown.yaml(name)): \(section.show(value, isCovered: isCovered))"
            }
            return "{" + shown.joined(separator: ", ") + "}"
        }
        return Key(
            name: name,
            describe: { scope, isItem, defaults in
                let full = Scope.join(scope, name)
                let map = KeyDescription(
                    path: full, type: "sections by name", unit: nil, bounds: "", defaultText: show(defaults, true), help: help,
                    secrecy: .open, reload: reload, environmentName: isItem ? nil : SettingsSource.environmentName(full))
                return [map] + section.keys.flatMap { $0.describe(full + ".NAME", true, fresh) }
            },
            read: { root, scope, reading in
                let key = Scope.join(scope.path, name)
                let written = reading.written(key, name, scope)
                if let written, let entries = reading.namedItems(written, key: key) {
                    var values: [String: Value] = [:]
                    for entry in entries {
                        var value = fresh
                        let item = reading.item(
                            Scope.join(key, Shown.key(entry.key)), entry.value, directory: written.directory,
                            known: section.keys.map(\.name))
                        section.read(&value, item, &reading)
                        values[entry.key] = value
                    }
                    root[keyPath: path] = values
                    reading.removeItems(prefix: key + ".")
                }
                reading.note(key, root, show, written?.origin ?? .defaults, reload)
            },
            show: show,
            adopt: { root, fresh in
                if reload == .live { root[keyPath: path] = fresh[keyPath: path] }
            }, brokenRules: { _, _ in [] }, headings: { _ in [] })
    }
}
