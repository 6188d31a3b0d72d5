// Writes strings as JSON (RFC 8259, section 7).

/// JSON strings. Beyond what RFC 8259 asks for, all control characters (terminals obey some of them), the two separators that some
/// readers take for the end of a line, and the byte order mark are escaped.
public enum JSONText {
    /// Appends `text` in quotes as UTF-8.
    public static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        if text.utf8.allSatisfy({ 0x20..<0x7F ~= $0 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            bytes.append(contentsOf: text.utf8)
        } else {
            for scalar in text.unicodeScalars {
                if let escape = escape(scalar) {
                    bytes.append(contentsOf: escape.utf8)
                } else {
                    bytes.append(contentsOf: UTF8.encode(scalar)!)
                }
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// `text` in quotes.
    public static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        append(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `text` on one line: control characters as escapes.
    public static func printable(_ text: String) -> String {
        text.unicodeScalars.map { isControl($0) ? escape($0) ?? "" : String($0) }.joined()
    }

    /// What is written for `scalar` inside quotes; `nil`: itself. YAML reads it inside double quotes in the same way.
    public static func escape(_ scalar: Unicode.Scalar) -> String? {
        switch scalar {
        case "\"": return "\\\""
        case "\\": return "\\\\"
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case _ where isControl(scalar):
            let digits = String(scalar.value, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: return nil
        }
    }

    /// Whether `scalar` is a control character, a line or paragraph separator, or the byte order mark.
    public static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case ..<0x20, 0x7F...0x9F, 0x2028, 0x2029, 0xFEFF: true
        default: false
        }
    }
}
