// Shows values as PostgreSQL does: what `sluice try` prints.

import Records

extension ValueCodec {
    /// A value's text, as `SELECT column::text` returns it in UTC; JSON, intervals and values with a cast as they are sent.
    func shown(_ value: UnsafeRawBufferPointer) -> String {
        if isArray { return ShownValue.array(String(decoding: value, as: UTF8.self)) }
        if wireType == .text { return String(decoding: value, as: UTF8.self) }
        var buffer = ByteBuffer()
        // The column's own form, whatever the format in the event.
        buffer.appendText(of: value, ValueCodec(type, format: type == .bytea ? .hex : nil))
        let text = String(decoding: buffer.bytes, as: UTF8.self)
        switch type {
        case .bytea: return "\\x" + text
        case .timestamp, .timestamptz:
            guard let separator = text.firstIndex(of: "T") else { return text }
            let zone = text.firstIndex(of: "Z")
            let time = text[text.index(after: separator)..<(zone ?? text.firstIndex(of: " ") ?? text.endIndex)]
            return text[..<separator] + " " + time + (zone == nil ? "" : "+00") + (text.hasSuffix(" BC") ? " BC" : "")
        default: return text
        }
    }
}

/// Texts of values.
enum ShownValue {
    /// An array literal with quotes only where PostgreSQL writes them (`array_out`).
    static func array(_ literal: String) -> String {
        var shown = String.UnicodeScalarView()
        var rest = literal.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "\"" else {
                shown.append(scalar)
                continue
            }
            var element = String.UnicodeScalarView()
            var source = String.UnicodeScalarView("\"".unicodeScalars)
            while let next = rest.popFirst(), next != "\"" {
                source.append(next)
                guard next == "\\", let escaped = rest.popFirst() else {
                    element.append(next)
                    continue
                }
                source.append(escaped)
                element.append(escaped)
            }
            let needsQuotes =
                element.isEmpty || String(element).uppercased() == "NULL"
                || element.contains { "{},\"\\ \t\n\r\u{B}\u{C}".unicodeScalars.contains($0) }
            shown.append(contentsOf: needsQuotes ? source + ["\""] : element)
        }
        return String(shown)
    }
}
