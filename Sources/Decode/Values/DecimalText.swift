// Reads decimal numbers of any length without rounding them in between.

import Records

/// The values of floats and numerics that are no numbers.
enum NamedNumber {
    case nan, infinity, minusInfinity

    var value: Double {
        switch self {
        case .nan: .nan
        case .infinity: .infinity
        case .minusInfinity: -.infinity
        }
    }

    /// PostgreSQL's binary form: no digits, weight 0, the sign word, scale 0 (src/backend/utils/adt/numeric.c).
    var numeric: UInt64 {
        switch self {
        case .nan: 0xC000_0000
        case .infinity: 0xD000_0000
        case .minusInfinity: 0xF000_0000
        }
    }
}

/// Decimal numbers as JSON writes them, with an optional sign.
enum DecimalText {
    /// Bytes of the longest `base64_decimal`: converting it takes time in the square of its length.
    static let longestBinary = 1_024
    /// The limits of PostgreSQL's numeric: base-10000 digits before the point, and decimal digits after it.
    private static let largestWeight = 32_767
    private static let largestScale = 16_383

    /// Where the parts of a number are in its text.
    private struct Parts {
        let text: UnsafeRawBufferPointer
        var isNegative = false
        var start = 0
        var integerDigits = 0
        var fractionDigits = 0
        var exponent = 0

        var count: Int { integerDigits + fractionDigits }

        /// The n-th digit, the point left out; 0 beyond the last.
        func digit(_ index: Int) -> UInt8 {
            guard index >= 0, index < count else { return 0 }
            return text[start + index + (index < integerDigits ? 0 : 1)] - UInt8(ascii: "0")
        }

        init(_ text: UnsafeRawBufferPointer) throws(ValueFault) {
            self.text = text
            var at = 0
            func digits() -> Int {
                let first = at
                while at < text.count, Self.isDigit(text[at]) { at += 1 }
                return at - first
            }
            func takeSign() -> Bool {
                guard at < text.count, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") else { return false }
                at += 1
                return text[at - 1] == UInt8(ascii: "-")
            }
            isNegative = takeSign()
            start = at
            integerDigits = digits()
            guard integerDigits == 1 || integerDigits > 1 && text[start] != UInt8(ascii: "0") else { throw .wrongType }
            if at < text.count, text[at] == UInt8(ascii: ".") {
                at += 1
                fractionDigits = digits()
                guard fractionDigits > 0 else { throw .wrongType }
            }
            if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
                at += 1
                let isSmall = takeSign()
                let first = at
                guard digits() > 0 else { throw .wrongType }
                // Beyond a million nothing depends on the exponent but whether the number is zero.
                for byte in text[first..<at] where exponent < 1_000_000 {
                    exponent = exponent * 10 + Int(byte - UInt8(ascii: "0"))
                }
                if isSmall { exponent = -exponent }
            }
            guard at == text.count else { throw .wrongType }
        }

        private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    }

    /// The value that a text names: NaN, Infinity or -Infinity, in any case, also as inf.
    static func name(_ text: UnsafeRawBufferPointer) -> NamedNumber? {
        var word = text[...]
        let isNegative = word.first == UInt8(ascii: "-")
        if isNegative || word.first == UInt8(ascii: "+") { word = word.dropFirst() }
        func isWord(_ wanted: StaticString) -> Bool {
            word.count == wanted.utf8CodeUnitCount
                && zip(word, UnsafeBufferPointer(start: wanted.utf8Start, count: wanted.utf8CodeUnitCount))
                    .allSatisfy { $0 | 0x20 == $1 }
        }
        if isWord("nan"), word.count == text.count { return .nan }
        return isWord("infinity") || isWord("inf") ? (isNegative ? .minusInfinity : .infinity) : nil
    }

    /// Whether a number has no digit but zeros.
    static func isZero(_ text: UnsafeRawBufferPointer) -> Bool {
        text.prefix { $0 | 0x20 != UInt8(ascii: "e") }.allSatisfy { $0 <= UInt8(ascii: "0") }
    }

    /// Throws where a text is no number as JSON writes it, with an optional sign.
    static func check(_ text: UnsafeRawBufferPointer) throws(ValueFault) { _ = try Parts(text) }

    /// Whether a JSON number fits numeric.
    static func fitsNumeric(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let parts = try? Parts(text) else { return false }
        return (try? layout(parts)) != nil
    }

    /// What becomes of a fraction: it is rounded to the nearest integer, halves away from zero; or down; or refused.
    enum Fraction { case rounded, floored, refused }

    /// A number times a power of ten, as an integer.
    static func integer(
        _ text: UnsafeRawBufferPointer, shiftedBy power: Int, fraction: Fraction = .rounded
    ) throws(ValueFault) -> Int64 {
        let parts = try Parts(text)
        let digits = parts.integerDigits + parts.exponent + power
        var magnitude: Int64 = 0
        var index = 0
        while index < digits, index < parts.count || magnitude > 0 {
            let (product, productOverflows) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, sumOverflows) = product.addingReportingOverflow(Int64(parts.digit(index)))
            if productOverflows || sumOverflows { throw .outOfRange }
            magnitude = sum
            index += 1
        }
        let hasFraction = (max(0, digits)..<max(0, digits, parts.count)).contains { parts.digit($0) > 0 }
        if fraction == .refused, hasFraction { throw .wrongType }
        if fraction == .rounded ? parts.digit(digits) >= 5 : hasFraction && parts.isNegative {
            guard magnitude < .max else { throw .outOfRange }
            magnitude += 1
        }
        return parts.isNegative ? -magnitude : magnitude
    }

    /// An integer times a power of ten, as an integer.
    static func integer(_ number: Int64, shiftedBy power: Int, fraction: Fraction) throws(ValueFault) -> Int64 {
        guard number != .min else { throw .outOfRange }
        var factor: Int64 = 1
        for _ in 0..<abs(power) { factor *= 10 }
        if power >= 0 {
            let (product, overflows) = number.multipliedReportingOverflow(by: factor)
            if overflows { throw .outOfRange }
            return product
        }
        let (quotient, rest) = number.quotientAndRemainder(dividingBy: factor)
        switch fraction {
        case .refused where rest != 0: throw .wrongType
        case .floored where rest < 0: return quotient - 1
        case .rounded where 2 * abs(rest) >= factor: return quotient + rest.signum()
        default: return quotient
        }
    }

    /// How a number is laid out in base-10000 digits.
    private struct Layout {
        /// The first and last decimal digit that count; `first == end` for zero.
        var first: Int
        var end: Int
        var weight = 0
        /// Zeros before the first decimal digit in its base-10000 digit.
        var padding = 0
        let scale: Int
        var groups: Int { (padding + end - first + 3) / 4 }
    }

    private static func layout(_ parts: Parts) throws(ValueFault) -> Layout {
        let scale = max(0, parts.fractionDigits - parts.exponent)
        guard scale <= largestScale else { throw .outOfRange }
        var layout = Layout(first: 0, end: parts.count, scale: scale)
        while layout.first < layout.end, parts.digit(layout.first) == 0 { layout.first += 1 }
        while layout.end > layout.first, parts.digit(layout.end - 1) == 0 { layout.end -= 1 }
        guard layout.first < layout.end else { return layout }
        // The power of ten of the first digit that counts.
        let power = parts.integerDigits + parts.exponent - 1 - layout.first
        layout.weight = power >= 0 ? power / 4 : (power - 3) / 4
        layout.padding = 3 - (power - layout.weight * 4)
        guard layout.weight <= largestWeight else { throw .outOfRange }
        return layout
    }

    /// Writes a numeric: count of digits, weight of the first, sign, decimal digits after the point, then the digits in base 10000. The
    /// zeros at the end of a fraction count: `1.50` stays `1.50`.
    static func numeric(_ text: UnsafeRawBufferPointer, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        let parts = try Parts(text)
        let layout = try layout(parts)
        let isZero = layout.first == layout.end
        let start = rows.values.count
        let groups = isZero ? 0 : layout.groups
        rows.values.append(bigEndian: UInt16(groups))
        rows.values.append(bigEndian: Int16(layout.weight))
        rows.values.append(bigEndian: UInt16(parts.isNegative && !isZero ? 0x4000 : 0))
        rows.values.append(bigEndian: UInt16(layout.scale))
        for group in 0..<groups {
            var digit: UInt16 = 0
            for place in 0..<4 {
                let index = layout.first - layout.padding + group * 4 + place
                digit = digit * 10 + (index < layout.first ? 0 : UInt16(parts.digit(index)))
            }
            rows.values.append(bigEndian: digit)
        }
        return Slice(start: start, length: rows.values.count - start)
    }

    /// Writes a numeric that is a big-endian two's complement integer in base64, divided by a power of ten: how Kafka Connect sends decimals.
    static func decimal(
        base64 text: UnsafeRawBufferPointer, scale: Int, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        let start = rows.values.count
        let binary = try ByteText.base64(text, into: &rows)
        let length = Int(binary.length)
        guard length > 0 else { throw .wrongType }
        guard length <= longestBinary else { throw .outOfRange }
        // 2.41 decimal digits a byte, then an exponent; the numeric takes less. Memory does not move from here on.
        rows.values.reserve(8 * length + 64)
        let bytes = UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(mutating: rows.values.base) + start, count: length)
        let isNegative = bytes[0] >= 0x80
        if isNegative {
            var carry = true
            for index in bytes.indices.reversed() {
                bytes[index] = ~bytes[index]
                if carry { (bytes[index], carry) = bytes[index].addingReportingOverflow(1) }
            }
        }
        let digits = rows.values.count
        if isNegative { rows.values.append(byte: UInt8(ascii: "-")) }
        let first = rows.values.count
        var from = 0
        repeat {
            var rest = 0
            for index in from..<length {
                let part = rest << 8 | Int(bytes[index])
                bytes[index] = UInt8(part / 10)
                rest = part % 10
            }
            rows.values.append(byte: UInt8(ascii: "0") + UInt8(rest))
            while from < length, bytes[from] == 0 { from += 1 }
        } while from < length
        let last = rows.values.count
        var written = UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(mutating: rows.values.base) + first, count: last - first)
        written.reverse()
        rows.values.append(byte: UInt8(ascii: "e"))
        rows.values.append(decimal: Int64(-scale))
        let number = UnsafeRawBufferPointer(start: rows.values.base + digits, count: rows.values.count - digits)
        let cell = try numeric(number, into: &rows)
        rows.values.remove(at: start, count: Int(cell.start) - start)
        return Slice(start: start, length: Int(cell.length))
    }
}
