// Makes names of columns from those of fields, and writes names in YAML.

import Platform

/// Names in a suggested mapping.
enum SuggestedName {
    /// `camelCase`, `HTTPStatus` and `kebab-case` with underscores; empty where there are neither letters nor digits.
    static func snakeCase(_ name: String) -> String {
        var words = ""
        let characters = Array(name)
        for (index, character) in characters.enumerated() {
            guard character.isLetter || character.isNumber else {
                if words.last != "_" { words.append("_") }
                continue
            }
            if character.isUppercase, let last = words.last, last != "_" {
                let previous = characters[index - 1]
                let endsAcronym = previous.isUppercase && index + 1 < characters.count && characters[index + 1].isLowercase
                if !previous.isUppercase || endsAcronym { words.append("_") }
            }
            words += character.lowercased()
        }
        return words.split(separator: "_").joined(separator: "_")
    }

    /// The name of the column of a path: its names joined, at most 63 bytes, and none that is taken.
    static func column(_ path: [String], taken: Set<String>) -> String {
        let words = path.map(snakeCase).filter { !$0.isEmpty }.joined(separator: "_")
        func cut(_ text: String, _ bytes: Int) -> String {
            var text = text
            while text.utf8.count > bytes { text.removeLast() }
            return text
        }
        let name = cut(words.isEmpty ? "field" : words, 63)
        if !taken.contains(name) { return name }
        var number = 2
        while taken.contains(cut(name, 56) + "_\(number)") { number += 1 }
        return cut(name, 56) + "_\(number)"
    }

    /// A text as a YAML scalar in a flow mapping, in quotes where it needs them.
    static func yaml(_ text: String) -> String {
        let isPlain =
            text.first.map { $0.isASCII && ($0.isLetter || $0 == "/" || $0 == "_") } == true
            && text.utf8.allSatisfy { byte in
                byte < 0x80
                    && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber
                        || "_/.-".utf8.contains(byte))
            } && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(text.lowercased())
        if isPlain { return text }
        return printable(JSONText.quoted(text))
    }

    /// A text as a comment of one line, or the inside of quotes: with escapes for what YAML does not take as it is.
    static func printable(_ text: String) -> String {
        JSONText.printable(text).unicodeScalars.map {
            $0.value == 0xFFFE ? "\\ufffe" : $0.value == 0xFFFF ? "\\uffff" : String($0)
        }.joined()
    }
}
