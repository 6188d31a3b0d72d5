// Owns the declaration of one key, from which reading, checking, display and documentation follow.

import Platform

/// A key of a section: a leaf with a value of some kind, a section within the section, or a list of sections.
public struct Key<Root: Sendable>: Sendable {
    let name: String
    let describe: @Sendable (_ scope: String, _ isItem: Bool, _ defaults: Root) -> [KeyDescription]
    let read: @Sendable (inout Root, Scope, inout SettingsReading) -> Void
    /// The value as YAML, with secrets covered, or, to detect changes, in clear text.
    let show: @Sendable (Root, _ isCovered: Bool) -> String
    /// Copies the value from `fresh` where the key is live.
    let adopt: @Sendable (inout Root, _ fresh: Root) -> Void
    /// What an editor is told of the value, and whether a source must set it.
    let schema: @Sendable (_ isItem: Bool, _ defaults: Root) -> (JSONSchema, isRequired: Bool)
    /// Sentences about rules of nested sections that do not hold.
    var brokenRules: @Sendable (Root, _ scope: String) -> [String] = { _, _ in [] }
    /// The help of nested sections, by path, for headings.
    var headings: @Sendable (_ scope: String) -> [(path: String, help: String)] = { _ in [] }
}

extension Key {
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
        let show: @Sendable (Root, Bool) -> String = { root, isCovered in
            kind.show(root[keyPath: path], isCovered ? secrecy : nil)
        }
        self.init(
            name: name,
            describe: { scope, isItem, defaults in
                let full = Scope.join(scope, name)
                return [
                    KeyDescription(
                        path: full, type: kind.typeName, unit: unit, bounds: kind.bounds,
                        defaultText: isRequired ? nil : kind.show(defaults[keyPath: path], secrecy), help: help, secrecy: secrecy,
                        reload: reload, environmentName: isItem ? nil : SettingsSource.environmentName(full))
                ]
            },
            read: { root, scope, reading in
                let key = Scope.join(scope.path, name)
                guard let written = reading.written(key, name, scope) else {
                    root[keyPath: path] = kind.settle(root[keyPath: path], scope.directory)
                    if isRequired && !reading.isFaulty(key) { reading.reportMissing(key, scope) }
                    reading.note(key, root, show, .defaults, reload)
                    return
                }
                let shown = written.isFromSecretFile && secrecy == .open ? .secret : secrecy
                var value = ValueReading(key: key, origin: written.origin, secrecy: shown, directory: written.directory)
                if let parsed = kind.parse(written.raw, &value) { root[keyPath: path] = parsed }
                reading.report(value.faults)
                reading.note(key, root, show, written.origin, reload)
            }, show: show, adopt: Self.adoption(path, reload),
            schema: { _, defaults in
                var standard: JSONValue?
                if !isRequired, secrecy != .secret { standard = JSONValue(shown: kind.show(defaults[keyPath: path], secrecy)) }
                return (kind.schema.described(help, standard: standard), isRequired)
            })
    }

    /// Texts under free names, merged from all sources entry by entry: the file, the key's own variable, and one variable for each entry,
    /// such as `SLUICE_KAFKA_PROPERTIES_SASL_PASSWORD` for `sasl.password`. Values under secret names are covered.
    public static func mergedMap(
        _ name: String, _ path: any WritableKeyPath<Root, [String: String]> & Sendable, help: String, reload: Reload = .restart
    ) -> Key {
        let kind = ValueKind<[String: String]>.map
        let show: @Sendable (Root, Bool) -> String = { root, isCovered in kind.show(root[keyPath: path], isCovered ? .open : nil)
        }
        return Key(
            name: name,
            describe: { scope, isItem, defaults in
                let full = Scope.join(scope, name)
                return [
                    KeyDescription(
                        path: full, type: kind.typeName, unit: nil, bounds: "",
                        defaultText: kind.show(defaults[keyPath: path], .open), help: help, secrecy: .open, reload: reload,
                        environmentName: isItem ? nil : SettingsSource.environmentName(full), hasEntryVariables: !isItem)
                ]
            },
            read: { root, scope, reading in
                let key = Scope.join(scope.path, name)
                let (whole, entries) = reading.writtenEntries(key, name, scope)
                for written in whole {
                    var value = ValueReading(key: key, origin: written.origin, secrecy: .open, directory: written.directory)
                    if let parsed = kind.parse(written.raw, &value) { root[keyPath: path].merge(parsed) { $1 } }
                    reading.report(value.faults)
                }
                for (entry, written) in entries {
                    if case .text(let text) = written.raw { root[keyPath: path][entry] = text }
                }
                let origin = entries.last?.value.origin ?? whole.last?.origin ?? .defaults
                reading.note(key, root, show, origin, reload)
            }, show: show, adopt: adoption(path, reload),
            schema: { _, defaults in
                (kind.schema.described(help, standard: JSONValue(shown: kind.show(defaults[keyPath: path], .open))), false)
            })
    }

    /// Copies the value from `fresh` where the key is live.
    private static func adoption<Value: Sendable>(
        _ path: any WritableKeyPath<Root, Value> & Sendable, _ reload: Reload
    ) -> @Sendable (inout Root, _ fresh: Root) -> Void {
        { root, fresh in
            if reload == .live { root[keyPath: path] = fresh[keyPath: path] }
        }
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
            schema: { isItem, defaults in (section.schema(isItem: isItem, defaults[keyPath: path]), false) },
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
        help: String, reload: Reload = .restart
    ) -> Key {
        several(
            name, path, each: section, fresh: fresh, help: help, reload: reload, type: "list of sections", itemPath: "[]",
            show: { values, isCovered in
                "[" + values.map { section.show($0, isCovered: isCovered) }.joined(separator: ", ") + "]"
            },
            read: { written, key, reading, item in
                reading.items(written, key: key)?.enumerated().map { index, node in item("\(key)[\(index)]", node, &reading) }
            }, schema: { .list(of: $0) })
    }

    /// Sections under free names, each read into a copy of `fresh`. In YAML a mapping of mappings; in the environment the same in YAML's
    /// flow style: `{a: {rate: 1}, b: {rate: 2}}`.
    public static func namedSections<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Root, [String: Value]> & Sendable, each section: Section<Value>, fresh: Value,
        help: String, reload: Reload = .restart
    ) -> Key {
        several(
            name, path, each: section, fresh: fresh, help: help, reload: reload, type: "sections by name", itemPath: ".NAME",
            show: { values, isCovered in
                let shown = values.sorted { $0.key < $1.key }.map { name, value in
                    "\(Shown.yaml(name)): \(section.show(value, isCovered: isCovered))"
                }
                return "{" + shown.joined(separator: ", ") + "}"
            },
            read: { written, key, reading, item in
                guard let entries = reading.namedItems(written, key: key) else { return nil }
                var values: [String: Value] = [:]
                for entry in entries { values[entry.key] = item(Scope.join(key, Shown.key(entry.key)), entry.value, &reading) }
                return values
            }, schema: { .map(of: $0) })
    }

    /// Several sections of one kind.
    /// - Parameters:
    ///   - itemPath: what stands for an item in the path of its keys.
    ///   - read: reads all of them, each by `item`, which takes the item's path and its tree; `nil` after it has reported why it cannot.
    ///   - schema: that of all of them, made from that of one.
    private static func several<Values: Sendable, Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Root, Values> & Sendable, each section: Section<Value>, fresh: Value,
        help: String, reload: Reload, type: String, itemPath: String,
        show: @escaping @Sendable (Values, _ isCovered: Bool) -> String,
        read:
            @escaping @Sendable (
                SettingsReading.Written, _ key: String, inout SettingsReading,
                _ item: (_ path: String, YAMLNode, inout SettingsReading) -> Value
            ) -> Values?,
        schema: @escaping @Sendable (JSONSchema) -> JSONSchema
    ) -> Key {
        precondition(!name.hasSuffix("_file"), "the key \(name) must not end in _file")
        let show: @Sendable (Root, Bool) -> String = { root, isCovered in show(root[keyPath: path], isCovered) }
        return Key(
            name: name,
            describe: { scope, isItem, defaults in
                let full = Scope.join(scope, name)
                let all = KeyDescription(
                    path: full, type: type, unit: nil, bounds: "", defaultText: show(defaults, true), help: help,
                    secrecy: .open, reload: reload, environmentName: isItem ? nil : SettingsSource.environmentName(full))
                return [all] + section.keys.flatMap { $0.describe(full + itemPath, true, fresh) }
            },
            read: { root, scope, reading in
                let key = Scope.join(scope.path, name)
                let written = reading.written(key, name, scope)
                if let written {
                    let values = read(written, key, &reading) { place, node, reading in
                        var value = fresh
                        let item = reading.item(place, node, directory: written.directory, known: section.keys.map(\.name))
                        section.read(&value, item, &reading)
                        return value
                    }
                    if let values {
                        root[keyPath: path] = values
                        reading.removeItems(prefix: key + itemPath.prefix(1))
                    }
                }
                reading.note(key, root, show, written?.origin ?? .defaults, reload)
            }, show: show, adopt: adoption(path, reload),
            schema: { _, defaults in
                let standard = JSONValue(shown: show(defaults, true))
                return (schema(section.schema(isItem: true, fresh)).described(help, standard: standard), false)
            })
    }
}
