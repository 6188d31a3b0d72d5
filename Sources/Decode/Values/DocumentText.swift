// Writes json and jsonb: the document's own text, as far as PostgreSQL takes it.

import Glibc
import Records

/// Copies the text of a JSON value that is known to be valid.
enum DocumentText {
    /// A number with fewer bytes and without an exponent fits numeric.
    private static let safeDigits = 16_000

    /// Writes the text; for jsonb with the version of its binary form before it.
    ///
    /// jsonb refuses NUL characters, and numbers beyond numeric. json stores both, but no function can read the NUL again.
    static func cell(_ text: UnsafeRawBufferPointer, _ codec: ValueCodec, into rows: inout ChangeRows) throws(ValueFault) -> Slice
    {
        let start = rows.values.count
        if codec.type == .jsonb { rows.values.append(byte: 1) }
        var at = 0
        var copied = 0
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\""):
                at += 1
                while text[at] != UInt8(ascii: "\"") {
                    guard text[at] == UInt8(ascii: "\\") else {
                        at += 1
                        continue
                    }
                    guard isNUL(text, at) else {
                        at += 2
                        continue
                    }
                    if codec.nul == .refuse { throw .invalidText }
                    rows.values.append(UnsafeRawBufferPointer(rebasing: text[copied..<at]))
                    if codec.nul == .replace { rows.values.append(ascii: "\\ufffd") }
                    at += 6
                    copied = at
                }
                at += 1
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let first = at
                var hasExponent = false
                while at < text.count, isOfNumber(text[at]) {
                    hasExponent = hasExponent || text[at] | 0x20 == UInt8(ascii: "e")
                    at += 1
                }
                if codec.type == .jsonb, hasExponent || at - first > safeDigits,
                    !DecimalText.fitsNumeric(UnsafeRawBufferPointer(rebasing: text[first..<at]))
                {
                    throw .outOfRange
                }
            default: at += 1
            }
        }
        rows.values.append(UnsafeRawBufferPointer(rebasing: text[copied...]))
        return Slice(start: start, length: rows.values.count - start)
    }

    private static func isNUL(_ text: UnsafeRawBufferPointer, _ at: Int) -> Bool {
        text.count - at > 5 && text[at + 1] == UInt8(ascii: "u") && text[at + 2..<at + 6].allSatisfy { $0 == UInt8(ascii: "0") }
    }

    private static func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
