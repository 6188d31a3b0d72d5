// Reads the nodes of a mapping file as typed values, and collects the faults.

import Platform
import Settings

/// Reads typed values from a ``YAMLNode`` tree. A method that fails adds a fault and returns nil, so that one pass finds all
/// faults.
///
/// The parameter `subject` names the value in messages.
struct MappingReader {
    private(set) var faults: [MappingFault] = []

    mutating func fault(_ node: YAMLNode, _ message: String) {
        faults.append(MappingFault(file: node.file, line: node.line, message: message))
    }

    /// The entries of a mapping, by name; each name must be one of `known`. What has a mistyped name is read as what was meant, so that
    /// its own faults are found, and nothing is called missing.
    /// - Parameter example: of such a mapping, for messages.
    mutating func entries(
        of node: YAMLNode, in subject: String, known: [String], example: String? = nil
    ) -> [String: YAMLNode]? {
        guard let entries = entries(of: node, in: subject, example: example) else { return nil }
        var nodes = Dictionary(
            uniqueKeysWithValues: entries.lazy.filter { known.contains($0.key) }.map { ($0.key, $0.value) })
        for entry in entries where !known.contains(entry.key) {
            let meant = Nearest.name(to: entry.key, among: known)
            let message = "unknown key '\(entry.key)' in \(subject)" + (meant.map { Self.suggestion($0) } ?? "")
            faults.append(MappingFault(file: node.file, line: entry.line, message: message))
            if let meant, nodes[meant] == nil { nodes[meant] = entry.value }
        }
        return nodes
    }

    /// The entries of a mapping with any names.
    mutating func entries(of node: YAMLNode, in subject: String, example: String? = nil) -> [YAMLEntry]? {
        if let entries = node.mapping { return entries }
        fault(
            node,
            node.isNull
                ? "\(subject) has no entries: the lines that belong to it are indented further"
                : "\(subject) must be a mapping of names to values" + (example.map { ", such as \($0)" } ?? ""))
        return nil
    }

    /// A scalar.
    mutating func string(_ node: YAMLNode, _ subject: String) -> String? {
        guard let scalar = node.scalar else {
            fault(node, "\(subject) must be a single value")
            return nil
        }
        return scalar.text
    }

    /// `true` or `false`.
    mutating func flag(_ node: YAMLNode, _ subject: String) -> Bool? {
        switch string(node, subject) {
        case "true": return true
        case "false": return false
        case nil: return nil
        default:
            fault(node, "\(subject) must be true or false")
            return nil
        }
    }

    /// One or more values, each with its node; a single value stands for a list of one.
    mutating func strings(_ node: YAMLNode, _ subject: String) -> [(text: String, node: YAMLNode)]? {
        guard let elements = node.sequence else {
            return string(node, subject).map { [($0, node)] }
        }
        if elements.isEmpty {
            fault(node, "\(subject) must not be empty")
            return nil
        }
        let texts = elements.compactMap { element in string(element, subject).map { ($0, element) } }
        return texts.count == elements.count ? texts : nil
    }

    /// One of the cases of an enum.
    mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ node: YAMLNode, _ subject: String, of type: Choice.Type
    ) -> Choice? {
        guard let text = string(node, subject) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        let words = Choice.allCases.map(\.rawValue)
        fault(
            node,
            "\(subject) '\(text)' is not one of \(words.joined(separator: ", "))"
                + Self.suggestion(for: text, among: words))
        return nil
    }

    /// `; did you mean 'x'?` where a known word is similar.
    static func suggestion(for word: String, among known: [String]) -> String {
        Nearest.name(to: word, among: known).map { suggestion($0) } ?? ""
    }

    /// `; did you mean 'x'?`
    static func suggestion(_ meant: String) -> String { "; did you mean '\(meant)'?" }
}
