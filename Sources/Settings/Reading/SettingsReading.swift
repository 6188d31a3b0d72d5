// Owns one pass over all sources: finds the value of each key, and collects faults and effective values.

import Platform

/// A pass over all sources.
struct SettingsReading {
    /// The text of a key, and its source.
    struct Written {
        let raw: RawValue
        let origin: Origin
        /// The directory of relative paths in it.
        let directory: String
        /// It comes from a file that the environment names, as secrets do: faults do not show it, whatever key it was meant for.
        var isFromSecretFile = false
    }

    private let source: SettingsSource
    private let known: [KeyDescription]
    private let former: FormerKeys
    private(set) var faults: [Fault] = []
    private(set) var effective: [EffectiveValue] = []
    private var faultyKeys: Set<String> = []

    /// The most bytes of a file that holds one value.
    private static let maximumSecretBytes = 64 << 10

    init(_ source: SettingsSource, known: [KeyDescription], former: FormerKeys) {
        self.source = source
        self.known = known
        self.former = former
    }

    // MARK: Sources

    /// The value of the source that takes precedence; `nil` where none sets the key, or the source cannot be read (a fault says so).
    mutating func written(_ key: String, _ name: String, _ scope: Scope) -> Written? {
        let variable = SettingsSource.environmentName(key)
        if scope.isOverlaid, source.isSet(variable) { return inEnvironment(variable, key: key) }
        return inFile(name, scope)
    }

    /// The values of all sources of a key whose entries are merged: those of the whole, later ones taking precedence, and those of single
    /// entries by the entries' names, which take precedence over all.
    mutating func writtenEntries(
        _ key: String, _ name: String, _ scope: Scope
    ) -> (whole: [Written], entries: [(name: String, value: Written)]) {
        var whole = [inFile(name, scope)].compactMap(\.self)
        guard scope.isOverlaid else { return (whole, []) }
        let variable = SettingsSource.environmentName(key)
        if source.isSet(variable), let written = inEnvironment(variable, key: key) { whole.append(written) }
        var entries: [(name: String, value: Written)] = []
        for (entry, variable) in source.entries(of: variable) {
            if let written = inEnvironment(variable, key: Scope.join(key, entry)) { entries.append((entry, written)) }
        }
        return (whole, entries)
    }

    /// The value that a variable holds, or the file that it names with `_FILE`.
    private mutating func inEnvironment(_ variable: String, key: String) -> Written? {
        switch (source.environment[variable], source.environment[variable + "_FILE"]) {
        case (let text?, nil):
            return Written(raw: .text(text.withoutTrailingLineBreaks), origin: .environment(variable), directory: "")
        case (nil, let path?): return content(of: path, named: variable + "_FILE", key: key)
        case (.some, .some):
            report([Fault(.environment(variable), key: key, "is set, and so is \(variable)_FILE; unset one of them")])
            return nil
        case (nil, nil): return nil
        }
    }

    private func inFile(_ name: String, _ scope: Scope) -> Written? {
        guard let entry = scope.entries.first(where: { $0.key == name }) else { return nil }
        return Written(
            raw: .node(entry.value), origin: .file(entry.value.file, line: entry.line), directory: scope.directory)
    }

    private mutating func content(of path: String, named variable: String, key: String) -> Written? {
        do throws(TextFile.Problem) {
            let text = try TextFile.read(path, atMost: Self.maximumSecretBytes).withoutTrailingLineBreaks
            guard text.contains(where: { !$0.isWhitespace }) else {
                throw TextFile.Problem(sentence: "holds nothing; write the value into it, or unset the variable")
            }
            return Written(raw: .text(text), origin: .environment(variable), directory: "", isFromSecretFile: true)
        } catch {
            report([Fault(.environment(variable), key: key, "the file \(Shown.quoted(path)) \(error.sentence)")])
            return nil
        }
    }

    /// The scope of a section within `scope`.
    mutating func entered(_ name: String, _ scope: Scope, known names: [String]) -> Scope {
        let path = Scope.join(scope.path, name)
        guard let entry = scope.entries.first(where: { $0.key == name }) else {
            return Scope(path: path, entries: [], origin: scope.origin, isOverlaid: scope.isOverlaid, directory: scope.directory)
        }
        let origin = Origin.file(entry.value.file, line: entry.line)
        return Scope(
            path: path, entries: mapping(entry.value, key: path, known: names), origin: origin, isOverlaid: scope.isOverlaid,
            directory: scope.directory)
    }

    /// The scope of one item of a list of sections.
    mutating func item(_ path: String, _ node: YAMLNode, directory: String, known names: [String]) -> Scope {
        Scope(
            path: path, entries: mapping(node, key: path, known: names), origin: node.origin, isOverlaid: false,
            directory: directory)
    }

    private mutating func mapping(_ node: YAMLNode, key: String, known names: [String]) -> [YAMLEntry] {
        if let entries = node.mapping { return entries }
        if !node.isNull {
            let keys = Shown.choices(names)
            report([
                Fault(
                    node.origin, key: key.isEmpty ? nil : key, "must be a mapping with keys such as \(keys), is \(node.kindName)")
            ])
        }
        return []
    }

    /// The YAML tree of a value; a text is YAML in flow style.
    private mutating func tree(_ written: Written, key: String) -> YAMLNode? {
        switch written.raw {
        case .node(let written): return written
        case .text(let text):
            do {
                return try YAML.parse(text: text, file: written.origin.description)
            } catch {
                report(error.faults.map { Fault(written.origin, key: key, $0.message) })
                return nil
            }
        }
    }

    /// The items of sections under free names.
    mutating func namedItems(_ written: Written, key: String) -> [YAMLEntry]? {
        items(written, key, \.mapping, "a mapping of names to mappings")
    }

    /// The items of a list of sections.
    mutating func items(_ written: Written, key: String) -> [YAMLNode]? {
        items(written, key, \.sequence, "a list of mappings")
    }

    private mutating func items<Item>(
        _ written: Written, _ key: String, _ items: KeyPath<YAMLNode, [Item]?>, _ wanted: String
    ) -> [Item]? {
        guard let node = tree(written, key: key) else { return nil }
        if node.isNull { return [] }
        if let items = node[keyPath: items] { return items }
        report([Fault(written.origin, key: key, "must be \(wanted), is \(node.kindName)")])
        return nil
    }

    // MARK: Results

    mutating func note<Root>(
        _ key: String, _ root: Root, _ show: (Root, _ isCovered: Bool) -> String, _ origin: Origin, _ reload: Reload
    ) {
        effective.append(
            EffectiveValue(
                key: key, text: show(root, true), origin: origin, reload: reload, fingerprint: show(root, false).hashValue))
    }

    /// Removes the values of items: they are shown as part of their list or map.
    mutating func removeItems(prefix: String) {
        effective.removeAll { $0.key.hasPrefix(prefix) }
    }

    mutating func report(_ more: [Fault]) {
        faults += more
        faultyKeys.formUnion(more.compactMap(\.key))
    }

    func isFaulty(_ key: String) -> Bool { faultyKeys.contains(key) }

    mutating func reportMissing(_ key: String, _ scope: Scope) {
        // A section that is not a mapping has been reported.
        if !scope.path.isEmpty && isFaulty(scope.path) { return }
        let remedy = scope.isOverlaid ? "set it here or as \(SettingsSource.environmentName(key))" : "set it here"
        report([Fault(scope.origin, key: key, "is not set and has no default; \(remedy)")])
    }

    mutating func reportUnknown(_ entry: YAMLEntry, in scope: Scope, known names: [String]) {
        let origin = Origin.file(entry.value.file, line: entry.line)
        let written = Scope.join(scope.path, Shown.key(entry.key))
        if let sentence = former.sentence(key: written) { return report([Fault(origin, key: written, sentence)]) }
        let elsewhere = known.map(\.path).filter { $0.split(separator: ".").last.map(String.init) == entry.key }
        let guess = Nearest.name(to: entry.key, among: names).map { Scope.join(scope.path, $0) } ?? elsewhere.first
        let hint = guess.map { "did you mean \($0)?" } ?? "known here: \(names.joined(separator: ", "))"
        report([Fault(origin, key: written, "is not a known key; \(hint)")])
    }

    mutating func check<Root>(_ rule: Rule<Root>, on value: Root, in scope: Scope) {
        let keys = rule.keys.map { Scope.join(scope.path, $0) }
        let values = keys.map { key in
            guard let value = effective.first(where: { $0.key == key }) else {
                preconditionFailure("a rule names \(key), which is not declared")
            }
            return value
        }
        guard !keys.contains(where: isFaulty), !rule.holds(value) else { return }
        let place = values.first { $0.origin != .defaults } ?? values[0]
        let written = values.map { "\($0.key) is \($0.text)" }.joined(separator: ", ")
        report([Fault(place.origin == .defaults ? scope.origin : place.origin, key: place.key, "\(rule.sentence); \(written)")])
    }

    /// Reports environment variables that begin with ``SettingsSource/environmentPrefix`` and set no declared key.
    mutating func checkNames() {
        let variables = known.compactMap(\.environmentName)
        let all = Set(variables + variables.map { $0 + "_FILE" })
        let merged = known.filter(\.hasEntryVariables).compactMap(\.environmentName)
        for name in source.environment.keys.sorted() where name.hasPrefix(SettingsSource.environmentPrefix) && !all.contains(name)
        {
            guard !source.ignoredPrefixes.contains(where: name.hasPrefix) else { continue }
            guard !merged.contains(where: { name.hasPrefix($0 + "_") }) else { continue }
            if let (key, sentence) = former.sentence(variable: name) {
                report([Fault(.environment(name), key: key, sentence)])
                continue
            }
            let hint = Nearest.name(to: name, among: variables).map { "; did you mean \($0)?" } ?? ""
            report([Fault(.environment(Shown.key(name)), "sets no known key\(hint)")])
        }
    }
}
