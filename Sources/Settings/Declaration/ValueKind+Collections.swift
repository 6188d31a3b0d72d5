// Owns the kinds with several values: lists, and maps with free keys.

import Platform

extension ValueKind {
    /// Values of one kind, in order. In YAML a sequence; in the environment separated by commas (`\,` for a comma inside a value).
    /// - Parameter least: the least number of values.
    public static func list<Element: Sendable>(of element: ValueKind<Element>, atLeast least: Int = 0) -> ValueKind
    where Value == [Element] {
        ValueKind(
            typeName: "list of \(element.typeName)", bounds: [element.bounds, least > 0 ? "at least \(least)" : ""].joinedWords,
            schema: .list(of: element.schema, atLeast: least)
        ) { raw, reading in
            guard let parts = parts(raw, &reading) else { return nil }
            let values = parts.map { element.parse($0, &reading) }
            guard values.count >= least else {
                reading.report("must hold at least \(least), holds \(values.count)", at: raw)
                return nil
            }
            return values.contains { $0 == nil } ? nil : values.compactMap { $0 }
        } show: { values, secrecy in
            "[" + values.map { element.show($0, secrecy) }.joined(separator: ", ") + "]"
        } settle: { values, directory in
            values.map { element.settle($0, directory) }
        }
    }

    private static func parts(_ raw: RawValue, _ reading: inout ValueReading) -> [RawValue]? {
        switch raw {
        case .text(let text): return Separated.byCommas(text).map(RawValue.text)
        case .node(let node):
            if let nodes = node.sequence { return nodes.map(RawValue.node) }
            if node.isNull { return [] }
            reading.report(
                "must be a list, is \(node.kindName); write [\(node.scalar.map { reading.shown($0.text) } ?? "…")]", at: raw)
            return nil
        }
    }
}

/// A text under a free name.
public struct NamedText: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The text.
    public let text: String

    /// A text under a free name.
    public init(_ name: String, _ text: String) {
        self.name = name
        self.text = text
    }
}

extension ValueKind where Value == [NamedText] {
    /// Texts under free names, in the order in which they are written. In YAML a mapping of scalars; in the environment `key=value` separated
    /// by commas.
    public static func orderedMap(of element: ValueKind<String>) -> ValueKind {
        ValueKind(typeName: "map of \(element.typeName)", schema: .map(of: element.schema)) { raw, reading in
            let entries: [(String, RawValue)]
            switch raw {
            case .text(let text):
                guard let values = ValueKind<[String: String]>.map.parse(raw, &reading) else { return nil }
                let pairs = text.contains(where: \.isNewline) ? Separated.byLines(text) : Separated.byCommas(text)
                let names = pairs.compactMap { $0.split(separator: "=").first.map(Separated.trimmed) }
                entries = names.compactMap { name in values[name].map { (name, .text($0)) } }
            case .node(let node):
                guard ValueKind<[String: String]>.map.parse(raw, &reading) != nil else { return nil }
                entries = (node.mapping ?? []).map { ($0.key, .node($0.value)) }
            }
            let values = entries.compactMap { name, value in element.parse(value, &reading).map { NamedText(name, $0) } }
            return values.count == entries.count ? values : nil
        } show: { values, secrecy in
            "{" + values.map { "\(Shown.yaml($0.name)): \(element.show($0.text, secrecy))" }.joined(separator: ", ") + "}"
        } settle: { values, directory in
            values.map { NamedText($0.name, element.settle($0.text, directory)) }
        }
    }
}

extension ValueKind where Value == [String: String] {
    /// Texts under free keys. In YAML a mapping of scalars; in the environment `key=value` separated by commas (`\,` for one inside a value),
    /// or one a line, with comments after `#` or `!`, as in a file that Java's clients read.
    /// Values of secret keys (``Redaction/isSecretName(_:)``) are covered where they are shown.
    public static var map: ValueKind {
        ValueKind(typeName: "map", schema: .map(of: .text)) { raw, reading in
            switch raw {
            case .text(let text): pairs(text, raw, &reading)
            case .node(let node): entries(node, &reading)
            }
        } show: { values, secrecy in
            let shown = values.sorted { $0.key < $1.key }.map { key, value in
                let secrecy = secrecy.map { Redaction.isSecretName(key) ? .secret : $0 }
                return "\(Shown.yaml(key)): \(Shown.yaml(secrecy.covered(value)))"
            }
            return "{" + shown.joined(separator: ", ") + "}"
        }
    }

    /// Secrets under free names. In the environment, and in a file that it names, YAML too: `name: secret`, one a line,
    /// or `{name: secret, other: secret}`. Nothing at all is a fault, as what was to be there may have been lost. No fault shows a word
    /// of the text, not even a name: it may be a secret in the wrong place.
    public static var secrets: ValueKind {
        ValueKind(typeName: "secrets by name", schema: .map(of: .text, takesNothing: false)) { raw, reading in
            do throws(SettingsFaults) {
                let node =
                    switch raw {
                    case .node(let node): node
                    case .text(let text): try YAML.parse(text: text, file: reading.origin.description)
                    }
                if !node.isNull { return entries(node, &reading) }
                reading.report("holds nothing; write {} for none", at: raw)
            } catch {
                for fault in error.faults { reading.report("must be YAML, `name: secret` a line\(fault.origin.place)", at: raw) }
            }
            return nil
        } show: { values, secrecy in
            map.show(values, secrecy)
        }
    }

    private static func pairs(_ text: String, _ raw: RawValue, _ reading: inout ValueReading) -> Value? {
        var result: Value = [:]
        let text = String(text.drop(while: \.isNewline).reversed().drop(while: \.isNewline).reversed())
        for pair in text.contains(where: \.isNewline) ? Separated.byLines(text) : Separated.byCommas(text) {
            guard let equals = pair.firstIndex(of: "="), equals > pair.startIndex else {
                // The text may be the rest of a password with a comma in it: do not show it.
                reading.report(
                    "must be key=value pairs, one a line or separated by commas (\\, for a comma inside a value)", at: raw)
                return nil
            }
            let key = Separated.trimmed(pair[..<equals])
            guard result.updateValue(Separated.trimmed(pair[pair.index(after: equals)...]), forKey: key) == nil else {
                // Nor this key, for the same reason.
                reading.report("names a key twice", at: raw)
                return nil
            }
        }
        return result
    }

    private static func entries(_ node: YAMLNode, _ reading: inout ValueReading) -> Value? {
        if node.isNull { return [:] }
        guard let entries = node.mapping else {
            reading.report("must be a mapping, is \(node.kindName)", at: .node(node))
            return nil
        }
        var result: Value = [:]
        for entry in entries {
            guard let scalar = entry.value.scalar, !scalar.isNull else {
                let remedy = entry.value.isNull ? "; write \"\" for an empty text" : ""
                let name = reading.secrecy == .open ? Shown.quoted(entry.key) : "line \(entry.line)"
                reading.report(
                    "the value of \(name) must be one text, is \(entry.value.kindName)\(remedy)",
                    at: .node(YAMLNode(content: entry.value.content, file: node.file, line: entry.line)))
                continue
            }
            let isSecret = reading.secrecy != .open || Redaction.isSecretName(entry.key)
            result[entry.key] = isSecret ? scalar.text.withoutTrailingLineBreaks : scalar.text
        }
        return result.count == entries.count ? result : nil
    }
}

/// Texts separated by commas.
enum Separated {
    /// The parts without surrounding spaces; `\,` is a comma and `\\` a backslash. An empty text has no parts.
    static func byCommas(_ text: String) -> [String] {
        guard text.contains(where: { $0 != " " }) else { return [] }
        var parts = [""]
        var isEscaped = false
        for scalar in text.unicodeScalars {
            if isEscaped {
                if scalar != "," && scalar != "\\" { parts[parts.count - 1] += "\\" }
                parts[parts.count - 1].unicodeScalars.append(scalar)
                isEscaped = false
            } else if scalar == "\\" {
                isEscaped = true
            } else if scalar == "," {
                parts.append("")
            } else {
                parts[parts.count - 1].unicodeScalars.append(scalar)
            }
        }
        if isEscaped { parts[parts.count - 1] += "\\" }
        return parts.map { trimmed($0[...]) }
    }

    /// The lines that are neither empty nor a comment, without surrounding spaces.
    static func byLines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).map(trimmed).filter { line in
            line.first.map { $0 != "#" && $0 != "!" } ?? false
        }
    }

    /// A text without the spaces around it.
    static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}

extension [String] {
    /// The non-empty texts, separated by semicolons.
    fileprivate var joinedWords: String { filter { !$0.isEmpty }.joined(separator: "; ") }
}
