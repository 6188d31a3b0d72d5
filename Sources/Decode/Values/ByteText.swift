// Reads values that are bytes: base64, hexadecimal digits, UUIDs.

import Records

/// Each function writes the bytes that a text stands for.
enum ByteText {
    /// Base64 with the alphabet of RFC 4648, section 4 or 5; the padding may be left out, white space may not be in it.
    static func base64(_ text: UnsafeRawBufferPointer, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        var length = text.count
        if length.isMultiple(of: 4) {
            for _ in 0..<2 where length > 0 && text[length - 1] == UInt8(ascii: "=") { length -= 1 }
        }
        guard length % 4 != 1 else { throw .wrongType }
        let start = rows.values.count
        rows.values.reserve(length / 4 * 3 + 3)
        var bits: UInt32 = 0
        for (index, byte) in text[..<length].enumerated() {
            bits = bits << 6 | UInt32(try sextet(byte))
            if index % 4 == 3 { append(&rows, bits << 8, 3) }
        }
        // The bits that stand for no byte must be zero: otherwise a value would have several texts.
        switch length % 4 {
        case 2:
            guard bits & 0xF == 0 else { throw .wrongType }
            append(&rows, bits << 20, 1)
        case 3:
            guard bits & 0x3 == 0 else { throw .wrongType }
            append(&rows, bits << 14, 2)
        default: break
        }
        return Slice(start: start, length: rows.values.count - start)
    }

    /// An even number of hexadecimal digits, with or without `\x` before them.
    static func hex(_ text: UnsafeRawBufferPointer, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        let hasPrefix = text.count >= 2 && text[0] == UInt8(ascii: "\\") && text[1] == UInt8(ascii: "x")
        guard text.count.isMultiple(of: 2) else { throw .wrongType }
        let start = rows.values.count
        var at = hasPrefix ? 2 : 0
        while at < text.count {
            rows.values.append(byte: try nibble(text[at]) << 4 | (try nibble(text[at + 1])))
            at += 2
        }
        return Slice(start: start, length: rows.values.count - start)
    }

    /// 32 hexadecimal digits, with all four hyphens or with none.
    static func uuid(_ text: UnsafeRawBufferPointer, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        guard text.count == 36 || text.count == 32 else { throw .wrongType }
        let start = rows.values.count
        var at = 0
        while at < text.count {
            if text.count == 36, at == 8 || at == 13 || at == 18 || at == 23 {
                guard text[at] == UInt8(ascii: "-") else { throw .wrongType }
                at += 1
            }
            rows.values.append(byte: try nibble(text[at]) << 4 | (try nibble(text[at + 1])))
            at += 2
        }
        return Slice(start: start, length: 16)
    }

    private static func append(_ rows: inout ChangeRows, _ bits: UInt32, _ count: Int) {
        for index in 0..<count { rows.values.append(byte: UInt8(truncatingIfNeeded: bits >> UInt32(24 - 8 * index))) }
    }

    private static func sextet(_ byte: UInt8) throws(ValueFault) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
        case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
        default: throw .wrongType
        }
    }

    private static func nibble(_ byte: UInt8) throws(ValueFault) -> UInt8 {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: throw .wrongType
        }
    }
}
