// Owns breaking text into lines of a bounded width.

/// Words in lines.
public enum Filled {
    /// `text` in lines of at most `columns` characters; a longer word is a line of its own.
    public static func lines(_ text: String, columns: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > columns {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return lines + [line]
    }
}
