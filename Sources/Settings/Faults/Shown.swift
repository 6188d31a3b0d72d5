// Formats values for messages and for the effective configuration: short, and on one line.

import Platform

/// Text for people.
enum Shown {
    /// A value inside a sentence: quoted, controls escaped, cut after 80 characters.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for (position, scalar) in text.unicodeScalars.enumerated() {
            if position == 80 { return result + "…\"" }
            result += JSONText.escape(scalar) ?? String(scalar)
        }
        return result + "\""
    }

    /// A scalar as YAML: plain where YAML reads it back as the same text, else in double quotes.
    static func yaml(_ text: String) -> String {
        let risky: Set<Character> = [
            "-", "?", ":", ",", "[", "]", "{", "}", "#", "&", "*", "!", "|", ">", "'", "\"", "%", "@", "`", " ",
        ]
        let isPlain =
            !YAMLScalar(text: text).isNull && text.first.map { !risky.contains($0) } == true && text.last != " "
            && text.last != ":"
            && !text.contains(": ") && !text.contains(" #") && !text.contains("?")
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value < 0x7F && !",[]{}".unicodeScalars.contains($0) }
        return isPlain ? text : "\"" + text.unicodeScalars.map { JSONText.escape($0) ?? String($0) }.joined() + "\""
    }

    /// `a, b or c`
    static func choices(_ names: [String]) -> String {
        guard names.count > 1, let last = names.last else { return names.first ?? "nothing" }
        return names.dropLast().joined(separator: ", ") + " or " + last
    }

    /// A key from a source as messages show it, on one line.
    static func key(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.utf8.count <= 80 && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isPlain ? text : quoted(text)
    }
}
