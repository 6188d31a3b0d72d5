// Shows values as PostgreSQL does: what `sluice try` prints.

import Records

extension ValueCodec {
    /// A value's text, as `SELECT column::text` returns it in UTC; JSON, arrays' elements, intervals and values with a cast as they are sent.
    func shown(_ value: UnsafeRawBufferPointer) -> String {
        if isArray { return ShownValue.array(String(decoding: value, as: UTF8.self)) }
        if hasher != nil || wireType == .text { return String(decoding: value, as: UTF8.self) }
        var buffer = ByteBuffer()
        // The column's own form, whatever the format in the event.
        buffer.appendText(of: value, ValueCodec(type, format: type == .bytea ? .hex : nil))
        let text = String(decoding: buffer.bytes, as: UTF8.self)
        switch type {
        case .bytea: return "\\x" + text
        case .float4:
            return ShownValue.float(Float(bitPattern: UInt32(bigEndian: value.loadUnaligned(as: UInt32.self))), fixedBelow: 6)
        case .float8:
            return ShownValue.float(Double(bitPattern: UInt64(bigEndian: value.loadUnaligned(as: UInt64.self))), fixedBelow: 15)
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
    /// The shortest digits that are the same number, with an exponent below 1e-4 and from 10 to the power of `fixedBelow` on, as
    /// `float4out` and `float8out` write them.
    static func float(_ number: some BinaryFloatingPoint & CustomStringConvertible, fixedBelow: Int) -> String {
        if number.isNaN { return "NaN" }
        let sign = number.sign == .minus ? "-" : ""
        if number.isInfinite { return sign + "Infinity" }
        if number.isZero { return sign + "0" }
        // Swift's text has the same digits: `100000.0`, `1.5e-07`.
        let parts = number.magnitude.description.split(separator: "e")
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let written = mantissa.joined(separator: "")
        let digits = written.drop { $0 == "0" }
        var exponent = mantissa[0].count - 1 - (written.count - digits.count)
        if parts.count == 2, let shift = Int(parts[1]) { exponent += shift }
        var significant = String(digits)
        while significant.last == "0" { significant.removeLast() }
        if (-4..<fixedBelow).contains(exponent) {
            if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + significant }
            let padded = significant + String(repeating: "0", count: max(0, exponent + 1 - significant.count))
            let fraction = padded.dropFirst(exponent + 1)
            return "\(sign)\(padded.prefix(exponent + 1))" + (fraction.isEmpty ? "" : ".\(fraction)")
        }
        let fraction = significant.dropFirst()
        let power = String(abs(exponent))
        return "\(sign)\(significant.prefix(1))" + (fraction.isEmpty ? "" : ".\(fraction)") + (exponent < 0 ? "e-" : "e+")
            + (power.count < 2 ? "0\(power)" : power)
    }

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
