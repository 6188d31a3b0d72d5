// Writes the text of a value from its binary form: Kafka keys, and the elements of arrays.

import CSimdjson
import Records

extension ByteBuffer {
    mutating func append(ascii text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(decimal number: Int64) {
        if number < 0 { append(byte: UInt8(ascii: "-")) }
        append(digits: number.magnitude, width: 1)
    }

    /// Appends the digits of a number, with zeros before them up to a width.
    mutating func append(digits number: UInt64, width: Int) {
        var divisor: UInt64 = 1
        for _ in 1..<max(width, 1) { divisor *= 10 }
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    /// Appends the text of one of this buffer's own values.
    mutating func appendText(of cell: Slice, _ codec: ValueCodec) {
        // Memory must not move while the value is read.
        reserve(ValueText.longest(bytes(of: cell)!, codec.type))
        appendText(of: bytes(of: cell)!, codec)
    }

    /// Appends a value's text, which ``ValueWriter/cell(text:_:into:)`` reads as the same value. Equal values have equal texts.
    mutating func appendText(of value: UnsafeRawBufferPointer, _ codec: ValueCodec) {
        func load<T: FixedWidthInteger>(_ type: T.Type, at offset: Int = 0) -> T {
            T(bigEndian: value.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        if let digits = codec.format?.microsecondDigits, codec.type != .interval {
            return append(count: ValueText.microseconds(value, codec.type), digits)
        }
        // A date may be outside of what microseconds can count.
        if codec.format == .days, codec.type == .date {
            return append(decimal: Int64(load(Int32.self)) + Calendar.daysFrom1970)
        }
        if codec.format == .days {
            let microseconds = ValueText.microseconds(value, codec.type)
            return append(decimal: microseconds / Calendar.microsecondsOfDay)
        }
        switch codec.type {
        case .int2: append(decimal: Int64(load(Int16.self)))
        case .int4: append(decimal: Int64(load(Int32.self)))
        case .int8: append(decimal: load(Int64.self))
        case .bool:
            if load(UInt8.self) == 0 { append(ascii: "false") } else { append(ascii: "true") }
        case .float4: appendNumber { sj_write_float4(Float(bitPattern: load(UInt32.self)), $0) }
        case .float8: appendNumber { sj_write_float8(Double(bitPattern: load(UInt64.self)), $0) }
        case .numeric: appendNumeric(value)
        case .text, .interval, .json: append(value)
        case .jsonb: append(UnsafeRawBufferPointer(rebasing: value.dropFirst()))
        case .date: append(date: load(Int32.self))
        case .time: append(time: load(Int64.self))
        case .timestamp: append(timestamp: load(Int64.self), hasZone: false)
        case .timestamptz: append(timestamp: load(Int64.self), hasZone: true)
        case .uuid:
            for (index, byte) in value.enumerated() {
                if index == 4 || index == 6 || index == 8 || index == 10 { append(byte: UInt8(ascii: "-")) }
                append(hex: byte)
            }
        case .bytea where codec.format == .hex:
            for byte in value { append(hex: byte) }
        case .bytea: append(base64: value)
        }
    }

    private mutating func appendNumber(_ write: (UnsafeMutablePointer<CChar>) -> Int) {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
            let length = write(text.baseAddress!)
            append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[..<length]))
        }
    }

    /// A count of units with as many digits after the point as it needs.
    private mutating func append(count microseconds: Int64, _ digits: Int) {
        if microseconds < 0 { append(byte: UInt8(ascii: "-")) }
        var unit: UInt64 = 1
        for _ in 0..<abs(digits) { unit *= 10 }
        if digits < 0 {
            append(digits: microseconds.magnitude, width: 1)
            if microseconds != 0 { for _ in 0..<(-digits) { append(byte: UInt8(ascii: "0")) } }
            return
        }
        append(digits: microseconds.magnitude / unit, width: 1)
        append(fraction: microseconds.magnitude % unit, width: digits)
    }

    private mutating func append(fraction: UInt64, width: Int) {
        guard fraction > 0 else { return }
        append(byte: UInt8(ascii: "."))
        append(digits: fraction, width: width)
        while bytes[count - 1] == UInt8(ascii: "0") { truncate(to: count - 1) }
    }

    mutating func append(hex byte: UInt8) {
        let digits: StaticString = "0123456789abcdef"
        append(byte: digits.utf8Start[Int(byte >> 4)])
        append(byte: digits.utf8Start[Int(byte & 15)])
    }

    private mutating func append(base64 value: UnsafeRawBufferPointer) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        var at = 0
        while at < value.count {
            let taken = min(3, value.count - at)
            var bits: UInt32 = 0
            for index in 0..<3 { bits = bits << 8 | (index < taken ? UInt32(value[at + index]) : 0) }
            for index in 0..<4 {
                append(byte: index <= taken ? alphabet.utf8Start[Int(bits >> UInt32(18 - 6 * index) & 63)] : UInt8(ascii: "="))
            }
            at += taken
        }
    }

    private mutating func append(date days: Int32) {
        switch days {
        case .max: append(ascii: "infinity")
        case .min: append(ascii: "-infinity")
        default:
            let (year, month, day) = Calendar.civil(Int(days))
            append(year: year, month, day)
            if year < 1 { append(ascii: " BC") }
        }
    }

    private mutating func append(year: Int, _ month: Int, _ day: Int) {
        append(digits: UInt64(year < 1 ? 1 - year : year), width: 4)
        append(byte: UInt8(ascii: "-"))
        append(digits: UInt64(month), width: 2)
        append(byte: UInt8(ascii: "-"))
        append(digits: UInt64(day), width: 2)
    }

    /// Appends a length of time. Before version 15 PostgreSQL reads no number of more than 32 bits in an interval, and in no version more
    /// hours than that; then it is counted in microseconds.
    mutating func append(interval microseconds: Int64) {
        guard microseconds.magnitude / 3_600_000_000 <= UInt64(Int32.max) else {
            append(decimal: microseconds)
            return append(ascii: " microseconds")
        }
        if microseconds < 0 { append(byte: UInt8(ascii: "-")) }
        append(time: Int64(microseconds.magnitude))
    }

    private mutating func append(time microseconds: Int64) {
        let seconds = UInt64(microseconds) / 1_000_000
        append(digits: seconds / 3600, width: 2)
        append(byte: UInt8(ascii: ":"))
        append(digits: seconds / 60 % 60, width: 2)
        append(byte: UInt8(ascii: ":"))
        append(digits: seconds % 60, width: 2)
        append(fraction: UInt64(microseconds) % 1_000_000, width: 6)
    }

    private mutating func append(timestamp microseconds: Int64, hasZone: Bool) {
        if microseconds == .max { return append(ascii: "infinity") }
        if microseconds == .min { return append(ascii: "-infinity") }
        let days = Int(
            (microseconds >= 0 ? microseconds : microseconds - Calendar.microsecondsOfDay + 1) / Calendar.microsecondsOfDay)
        let (year, month, day) = Calendar.civil(days)
        append(year: year, month, day)
        append(byte: UInt8(ascii: "T"))
        append(time: microseconds - Int64(days) * Calendar.microsecondsOfDay)
        if hasZone { append(byte: UInt8(ascii: "Z")) }
        if year < 1 { append(ascii: " BC") }
    }

    /// See ``DecimalText/numeric(_:into:)`` for the binary form.
    private mutating func appendNumeric(_ value: UnsafeRawBufferPointer) {
        func word(_ index: Int) -> UInt16 { UInt16(bigEndian: value.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) }
        let (groups, weight, scale) = (Int(word(0)), Int(Int16(bitPattern: word(1))), Int(word(3)))
        switch word(2) {
        case 0xC000: return append(ascii: "NaN")
        case 0xD000: return append(ascii: "Infinity")
        case 0xF000: return append(ascii: "-Infinity")
        case 0x4000: append(byte: UInt8(ascii: "-"))
        default: break
        }
        func group(_ index: Int) -> UInt64 { index >= 0 && index < groups ? UInt64(word(4 + index)) : 0 }
        // The n-th group has the weight `weight - n`; the last before the point has the weight 0.
        append(digits: weight < 0 ? 0 : group(0), width: 1)
        for index in 1..<max(1, weight + 1) { append(digits: group(index), width: 4) }
        guard scale > 0 else { return }
        append(byte: UInt8(ascii: "."))
        let start = count
        var index = weight + 1
        while count - start < scale {
            append(digits: group(index), width: 4)
            index += 1
        }
        truncate(to: start + scale)
    }
}

/// What the texts of values need to know of their binary forms.
enum ValueText {
    /// Bytes that a value's text has at most.
    static func longest(_ value: UnsafeRawBufferPointer, _ type: ColumnType) -> Int {
        type == .numeric ? digits(ofNumeric: value) + 64 : 2 * value.count + 64
    }

    /// Decimal digits of a numeric without an exponent; up to three more than it has.
    static func digits(ofNumeric value: UnsafeRawBufferPointer) -> Int {
        let weight = Int(Int16(bigEndian: value.loadUnaligned(fromByteOffset: 2, as: Int16.self)))
        let scale = Int(UInt16(bigEndian: value.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
        return 4 * max(weight + 1, 1) + scale
    }

    /// Microseconds since 1970, or since midnight.
    static func microseconds(_ value: UnsafeRawBufferPointer, _ type: ColumnType) -> Int64 {
        if type == .date {
            let days = Int64(Int32(bigEndian: value.loadUnaligned(as: Int32.self)))
            return (days + Calendar.daysFrom1970) * Calendar.microsecondsOfDay
        }
        let microseconds = Int64(bigEndian: value.loadUnaligned(as: Int64.self))
        return type == .time ? microseconds : microseconds + Calendar.daysFrom1970 * Calendar.microsecondsOfDay
    }
}
