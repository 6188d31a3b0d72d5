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

    /// The entries of a mapping, by name; each name must be one of `known`.
    mutating func entries(of node: YAMLNode, in subject: String, known: [String]) -> [String: YAMLNode]? {
        guard let entries = entries(of: node, in: subject) else { return nil }
        var nodes: [String: YAMLNode] = [:]
        for entry in entries {
            if known.contains(entry.key) {
                nodes[entry.key] = entry.value
            } else {
                let message = "unknown key '\(entry.key)' in \(subject)" + Self.suggestion(for: entry.key, among: known)
                faults.append(MappingFault(file: node.file, line: entry.line, message: message))
            }
        }
        return nodes
    }

    /// The entries of a mapping with any names.
    mutating func entries(of node: YAMLNode, in subject: String) -> [YAMLEntry]? {
        guard let entries = node.mapping else {
            fault(node, "\(subject) must be a mapping of names to values")
            return nil
        }
        return entries
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
        Nearest.name(to: word, among: known).map { "; did you mean '\($0)'?" } ?? ""
    }
}
