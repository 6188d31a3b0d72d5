// Reads the nodes of a mapping file as the types that are wanted, and collects what is wrong with them.

import Settings

/// Typed reading of a ``YAMLNode`` tree. A reading that fails notes a fault and answers nil, so that one pass finds all faults.
struct MappingReader {
    private(set) var faults: [MappingFault] = []

    mutating func fault(_ node: YAMLNode, _ message: String) {
        faults.append(MappingFault(file: node.file, line: node.line, message: message))
    }

    /// The named nodes of a mapping, each of which must be one of `known`.
    mutating func entries(of node: YAMLNode, in place: String, known: [String]) -> [String: YAMLNode]? {
        guard let entries = entries(of: node, in: place) else { return nil }
        var found: [String: YAMLNode] = [:]
        for entry in entries {
            if known.contains(entry.key) {
                found[entry.key] = entry.value
            } else {
                let message = "unknown key '\(entry.key)' in \(place)" + Self.suggestion(for: entry.key, among: known)
                faults.append(MappingFault(file: node.file, line: entry.line, message: message))
            }
        }
        return found
    }

    /// The named nodes of a mapping under names that are free.
    mutating func entries(of node: YAMLNode, in place: String) -> [YAMLEntry]? {
        guard let entries = node.mapping else {
            fault(node, "\(place) must be a mapping of names to values")
            return nil
        }
        return entries
    }

    /// A value without parts.
    mutating func string(_ node: YAMLNode, _ place: String) -> String? {
        guard let scalar = node.scalar else {
            fault(node, "\(place) must be a single value")
            return nil
        }
        return scalar.text
    }

    /// `true` or `false`.
    mutating func flag(_ node: YAMLNode, _ place: String) -> Bool? {
        switch string(node, place) {
        case "true": return true
        case "false": return false
        case nil: return nil
        default:
            fault(node, "\(place) must be true or false")
            return nil
        }
    }

    /// One or more values, each with its node; a single value stands for a list of one.
    mutating func strings(_ node: YAMLNode, _ place: String) -> [(text: String, node: YAMLNode)]? {
        guard let elements = node.sequence else {
            return string(node, place).map { [($0, node)] }
        }
        if elements.isEmpty {
            fault(node, "\(place) must not be empty")
            return nil
        }
        let texts = elements.compactMap { element in string(element, place).map { ($0, element) } }
        return texts.count == elements.count ? texts : nil
    }

    /// One of a few words. `planned` are words of the language that are not built yet.
    mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ node: YAMLNode, _ place: String, of type: Choice.Type, planned: [String] = []
    ) -> Choice? {
        guard let text = string(node, place) else { return nil }
        if planned.contains(text) {
            fault(node, "\(place) \(text) is not supported yet")
            return nil
        }
        if let choice = Choice(rawValue: text) { return choice }
        let words = Choice.allCases.map(\.rawValue)
        fault(
            node,
            "\(place) '\(text)' is none of \(words.joined(separator: ", "))"
                + Self.suggestion(for: text, among: words + planned))
        return nil
    }

    /// `; did you mean 'x'?` where a known word is near.
    static func suggestion(for word: String, among known: [String]) -> String {
        let near = known.map { (distance: distance(word, $0), word: $0) }.min { $0.distance < $1.distance }
        guard let near, near.distance <= max(1, min(3, near.word.count / 2)) else { return "" }
        return "; did you mean '\(near.word)'?"
    }

    /// Levenshtein's distance: how many characters must be inserted, removed or replaced.
    static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a), b = Array(b)
        var row = Array(0...b.count)
        for i in a.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let replaced = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[b.count]
    }
}
