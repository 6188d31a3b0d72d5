// Writes values in the binary form of their column's type.

import CSimdjson
import Glibc
import Records

/// Why a value cannot be written to its column.
enum ValueFault: Error {
    /// Not a value of the type.
    case wrongType
    /// A value outside the type's range, or a date or time that does not exist.
    case outOfRange
    /// A text that PostgreSQL cannot store.
    case invalidText
    /// The row's values take more memory than ``DecodeLimits/rowBytes``.
    case tooLong
}

/// Binary forms as PostgreSQL's `*send` functions write them. A new type is one more case in each function.
enum ValueWriter {
    /// Writes a JSON value that is not null.
    /// - Parameters:
    ///   - parser: the parser of the document.
    ///   - mayHoldNUL: the document has escapes, without which a text cannot contain a NUL.
    @inline(__always)
    static func cell(
        _ value: sj_value, _ codec: ValueCodec, parser: OpaquePointer, mayHoldNUL: Bool, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        switch codec.simple {
        case .int2: return rows.appendValue(bigEndian: try integer(value, Int16.self))
        case .int4: return rows.appendValue(bigEndian: try integer(value, Int32.self))
        case .int8: return rows.appendValue(bigEndian: try integer(value, Int64.self))
        case .text:
            let text = try string(value)
            if mayHoldNUL, hasNUL(text) { return try withoutNUL(text, codec.nul, into: &rows) }
            return rows.values.appendSlice(text)
        case .other:
            return codec.isArray
                ? try ArrayLiteral.cell(value, codec, parser: parser, into: &rows)
                : try other(value, codec, parser: parser, into: &rows)
        }
    }

    /// Writes a value that is no array.
    @inline(never)
    static func other(
        _ value: sj_value, _ codec: ValueCodec, parser: OpaquePointer, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        var value = value
        let type = Int(value.type)
        if type == SJ_NULL { throw .wrongType }
        if let hasher = codec.hasher {
            let start = rows.values.count
            let plain = try cell(value, codec.plain, parser: parser, mayHoldNUL: true, into: &rows)
            return hasher.replace(plain, codec.type, from: start, in: &rows)
        }
        if codec.takesAny {
            let text = type == SJ_STRING ? try string(value) : raw(&value, parser)
            return hasNUL(text) ? try withoutNUL(text, codec.nul, into: &rows) : rows.values.appendSlice(text)
        }
        if let format = codec.format {
            // A count may have a fraction: seconds, above all.
            if format.microsecondDigits != nil || format == .days {
                if type == SJ_INT64 { return try count(Int64(bitPattern: value.bits), codec, format, into: &rows) }
                // Where a schema names the format, the mapping does not, and values may not be located. Debezium sends whole counts.
                guard isNumber(type), value.token != 0 else { throw .wrongType }
                return try cell(text: raw(&value, parser), codec, into: &rows)
            }
            if format == .variableScaleDecimal { return try variableScaleDecimal(value, into: &rows) }
            // The column has no format in its mapping, so that values are located.
            if format == .base64Decimal, codec.isFromSchema, isNumber(type) {
                return try number(raw(&value, parser), codec.type, into: &rows)
            }
            return try cell(text: try string(value), codec, into: &rows)
        }
        switch codec.type {
        case .int2: return rows.appendValue(bigEndian: try integer(value, Int16.self))
        case .int4: return rows.appendValue(bigEndian: try integer(value, Int32.self))
        case .int8: return rows.appendValue(bigEndian: try integer(value, Int64.self))
        case .bool:
            guard type == SJ_BOOL else { throw .wrongType }
            return rows.appendValue(bigEndian: UInt8(value.bits))
        case .float4, .float8, .numeric:
            if type == SJ_STRING {
                guard let name = DecimalText.name(try string(value)) else { throw .wrongType }
                return number(named: name, codec.type, into: &rows)
            }
            guard isNumber(type) else { throw .wrongType }
            return try number(raw(&value, parser), codec.type, into: &rows)
        case .json, .jsonb: return try DocumentText.cell(raw(&value, parser), codec, into: &rows)
        case .text, .date, .timestamptz, .uuid, .time, .timestamp, .interval, .bytea:
            let text = try string(value)
            if codec.type == .text || codec.type == .interval, hasNUL(text) {
                return try withoutNUL(text, codec.nul, into: &rows)
            }
            return try cell(text: text, codec, into: &rows)
        }
    }

    /// Writes a value given as text: a Kafka key, a header, a constant. Integers must be in their shortest decimal form, because
    /// the events of a row whose key has two spellings would be in two partitions.
    static func cell(text: UnsafeRawBufferPointer, _ codec: ValueCodec, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        precondition(!codec.isArray, "arrays come from paths only")
        if let hasher = codec.hasher {
            let start = rows.values.count
            let plain = try cell(text: text, codec.plain, into: &rows)
            return hasher.replace(plain, codec.type, from: start, in: &rows)
        }
        if let format = codec.format { return try cell(text: text, codec, format, into: &rows) }
        switch codec.type {
        case .int2: return rows.appendValue(bigEndian: try integer(text, Int16.self))
        case .int4: return rows.appendValue(bigEndian: try integer(text, Int32.self))
        case .int8: return rows.appendValue(bigEndian: try integer(text, Int64.self))
        case .text, .interval:
            if !sj_is_utf8(text.baseAddress, text.count) { throw .invalidText }
            return hasNUL(text) ? try withoutNUL(text, codec.nul, into: &rows) : rows.values.appendSlice(text)
        case .date: return rows.appendValue(bigEndian: try Calendar.date(text))
        case .timestamptz: return rows.appendValue(bigEndian: try Calendar.timestamp(text, needsZone: true))
        case .timestamp: return rows.appendValue(bigEndian: try Calendar.timestamp(text, needsZone: false))
        case .time: return rows.appendValue(bigEndian: try Calendar.time(text))
        case .bool:
            if text.elementsEqual("true".utf8) { return rows.appendValue(bigEndian: UInt8(1)) }
            guard text.elementsEqual("false".utf8) else { throw .wrongType }
            return rows.appendValue(bigEndian: UInt8(0))
        case .float4, .float8, .numeric:
            if let name = DecimalText.name(text) { return number(named: name, codec.type, into: &rows) }
            // The library reads more, such as ".5".
            try DecimalText.check(text)
            return try number(text, codec.type, into: &rows)
        case .uuid: return try ByteText.uuid(text, into: &rows)
        case .bytea: return try ByteText.base64(text, into: &rows)
        case .json, .jsonb:
            // Not in the document, so nothing has parsed it.
            guard case .numbers = JSONDiagnosis.result(of: text) else { throw .wrongType }
            return try DocumentText.cell(text, codec, into: &rows)
        }
    }

    /// Writes a text in a format that is not its type's usual one.
    private static func cell(
        text: UnsafeRawBufferPointer, _ codec: ValueCodec, _ format: ValueFormat, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        switch format {
        case .hex: return try ByteText.hex(text, into: &rows)
        case .base64Decimal: return try DecimalText.decimal(base64: text, scale: Int(codec.scale), into: &rows)
        case .string, .iso, .base64: return try cell(text: text, ValueCodec(codec.type), into: &rows)
        // An object, which no text is.
        case .variableScaleDecimal: throw .wrongType
        case .days: return try self.days(try DecimalText.integer(text, shiftedBy: 0, fraction: .refused), codec, into: &rows)
        case .epochSeconds, .epochMilliseconds, .epochMicroseconds, .epochNanoseconds:
            let microseconds = try DecimalText.integer(
                text, shiftedBy: format.microsecondDigits ?? 0, fraction: fraction(codec))
            return try moment(microseconds, codec, into: &rows)
        }
    }

    /// Writes Debezium's decimal that brings its scale with it.
    private static func variableScaleDecimal(_ value: sj_value, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        guard Int(value.type) == SJ_OBJECT else { throw .wrongType }
        var object = value
        var (scale, digits) = (sj_value(), sj_value())
        sj_find(&object, variableScale.scale.names, 1, &scale)
        sj_find(&object, variableScale.value.names, 1, &digits)
        guard Int(scale.type) == SJ_INT64, let scale = Int16(exactly: Int64(bitPattern: scale.bits)),
            (-16_383...16_383).contains(scale)
        else { throw .wrongType }
        return try DecimalText.decimal(base64: try string(digits), scale: Int(scale), into: &rows)
    }

    private static let variableScale = (scale: NameTable(["scale"]), value: NameTable(["value"]))

    /// Writes a whole number of units in a format that counts them.
    private static func count(
        _ number: Int64, _ codec: ValueCodec, _ format: ValueFormat, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        guard let digits = format.microsecondDigits else { return try days(number, codec, into: &rows) }
        return try moment(try DecimalText.integer(number, shiftedBy: digits, fraction: fraction(codec)), codec, into: &rows)
    }

    /// The day is that of the moment; a moment rounded up could be on the next.
    private static func fraction(_ codec: ValueCodec) -> DecimalText.Fraction { codec.type == .date ? .floored : .rounded }

    private static func days(_ days: Int64, _ codec: ValueCodec, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        if codec.type == .date { return rows.appendValue(bigEndian: try Calendar.date(daysSince1970: days)) }
        let (microseconds, overflows) = days.multipliedReportingOverflow(by: Calendar.microsecondsOfDay)
        if overflows { throw .outOfRange }
        return rows.appendValue(bigEndian: try Calendar.timestamp(microsecondsSince1970: microseconds))
    }

    private static func moment(
        _ microseconds: Int64, _ codec: ValueCodec, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        switch codec.type {
        case .interval:
            let start = rows.values.count
            rows.values.append(interval: microseconds)
            return Slice(start: start, length: rows.values.count - start)
        case .time:
            guard (0...Calendar.microsecondsOfDay).contains(microseconds) else { throw .outOfRange }
            return rows.appendValue(bigEndian: microseconds)
        case .date:
            var (days, rest) = microseconds.quotientAndRemainder(dividingBy: Calendar.microsecondsOfDay)
            if rest < 0 { days -= 1 }
            return rows.appendValue(bigEndian: try Calendar.date(daysSince1970: days))
        default: return rows.appendValue(bigEndian: try Calendar.timestamp(microsecondsSince1970: microseconds))
        }
    }

    /// The order-preserving prefix of a key's cell that was just written.
    @inline(__always)
    static func keyPrefix(_ cell: Slice, type: ColumnType, in rows: borrowing ChangeRows) -> UInt64 {
        let start = Int(cell.start)
        switch type {
        case .int2: return KeyPrefix.of(rows.values.load(bigEndian: Int16.self, at: start))
        case .int4, .date: return KeyPrefix.of(rows.values.load(bigEndian: Int32.self, at: start))
        case .int8, .time, .timestamp, .timestamptz: return KeyPrefix.of(rows.values.load(bigEndian: Int64.self, at: start))
        default: return KeyPrefix.of(UnsafeRawBufferPointer(start: rows.values.base + start, count: Int(cell.length)))
        }
    }

    /// The unescaped UTF-8 of a JSON string.
    @inline(__always)
    static func string(_ value: sj_value) throws(ValueFault) -> UnsafeRawBufferPointer {
        guard Int(value.type) == SJ_STRING else { throw .wrongType }
        return UnsafeRawBufferPointer(start: value.pointer, count: Int(truncatingIfNeeded: value.bits))
    }

    private static func isNumber(_ type: Int) -> Bool { type == SJ_INT64 || type == SJ_UINT64 || type == SJ_DOUBLE }

    /// A value's own text in the document.
    static func raw(_ value: inout sj_value, _ parser: OpaquePointer) -> UnsafeRawBufferPointer {
        precondition(value.token != 0, "the decoder of a mapping with this type locates values")
        let text = sj_raw(&value, parser)
        return UnsafeRawBufferPointer(start: text.bytes, count: text.length)
    }

    /// A JSON integer. `1.0` and `1e3` are refused: a producer that sends them may send 1.5 next.
    @inline(__always)
    private static func integer<T: FixedWidthInteger & SignedInteger>(
        _ value: sj_value, _ type: T.Type
    ) throws(ValueFault) -> T {
        guard Int(value.type) == SJ_INT64 else { throw Int(value.type) == SJ_UINT64 ? .outOfRange : .wrongType }
        guard let fitting = T(exactly: Int64(bitPattern: value.bits)) else { throw .outOfRange }
        return fitting
    }

    private static func integer<T: FixedWidthInteger>(_ text: UnsafeRawBufferPointer, _ type: T.Type) throws(ValueFault) -> T {
        let isNegative = text.first == UInt8(ascii: "-")
        let digits = text.dropFirst(isNegative ? 1 : 0)
        guard let first = digits.first, first != UInt8(ascii: "0") || text.count == 1 else { throw .wrongType }
        var number: T = 0
        for byte in digits {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { throw .wrongType }
            let digit = T(byte - UInt8(ascii: "0"))
            let (product, productOverflows) = number.multipliedReportingOverflow(by: 10)
            let (sum, sumOverflows) =
                isNegative ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
            if productOverflows || sumOverflows { throw .outOfRange }
            number = sum
        }
        return number
    }

    private static func number(
        _ text: UnsafeRawBufferPointer, _ type: ColumnType, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        if type == .numeric { return try DecimalText.numeric(text, into: &rows) }
        if type == .float4 {
            var number: Float = 0
            guard sj_read_float4(text.baseAddress, text.count, &number) else { throw .wrongType }
            guard number.isFinite, number != 0 || DecimalText.isZero(text) else { throw .outOfRange }
            return rows.appendValue(bigEndian: number.bitPattern)
        }
        var number: Double = 0
        guard sj_read_float8(text.baseAddress, text.count, &number) else { throw .wrongType }
        guard number.isFinite, number != 0 || DecimalText.isZero(text) else { throw .outOfRange }
        return rows.appendValue(bigEndian: number.bitPattern)
    }

    private static func number(named name: NamedNumber, _ type: ColumnType, into rows: inout ChangeRows) -> Slice {
        switch type {
        case .float4: return rows.appendValue(bigEndian: Float(name.value).bitPattern)
        case .float8: return rows.appendValue(bigEndian: name.value.bitPattern)
        default: return rows.appendValue(bigEndian: name.numeric)
        }
    }

    static func hasNUL(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let start = text.baseAddress, text.count > 0 else { return false }
        return memchr(start, 0, text.count) != nil
    }

    /// Writes a text that has NUL characters as the policy says.
    @inline(never)
    static func withoutNUL(
        _ text: UnsafeRawBufferPointer, _ policy: NULPolicy, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        if policy == .refuse { throw .invalidText }
        let start = rows.values.count
        for byte in text {
            if byte != 0 {
                rows.values.append(byte: byte)
            } else if policy == .replace {
                rows.values.append(ascii: "\u{FFFD}")
            }
        }
        return Slice(start: start, length: rows.values.count - start)
    }
}
