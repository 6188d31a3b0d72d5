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
}

/// Binary forms as PostgreSQL's `*send` functions write them. A new type is one more case in each function.
enum ValueWriter {
    /// Writes a JSON value that is not null.
    /// - Parameter mayHoldNUL: the document has escapes, without which a text cannot contain a NUL.
    @inline(__always)
    static func cell(
        _ value: sj_value, type: ColumnType, mayHoldNUL: Bool, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        switch type {
        case .int2: return rows.appendValue(bigEndian: try integer(value, Int16.self))
        case .int4: return rows.appendValue(bigEndian: try integer(value, Int32.self))
        case .int8: return rows.appendValue(bigEndian: try integer(value, Int64.self))
        case .text:
            let text = try string(value)
            if mayHoldNUL, hasNUL(text) { throw .invalidText }
            return rows.values.appendSlice(text)
        case .date: return rows.appendValue(bigEndian: try Calendar.date(try string(value)))
        case .timestamptz: return rows.appendValue(bigEndian: try Calendar.timestamp(try string(value)))
        }
    }

    /// Writes a value given as text: a Kafka key, a header, a constant. Integers must be in their shortest decimal form, because
    /// the events of a row whose key has two spellings would be in two partitions.
    static func cell(text: UnsafeRawBufferPointer, type: ColumnType, into rows: inout ChangeRows) throws(ValueFault) -> Slice {
        switch type {
        case .int2: return rows.appendValue(bigEndian: try integer(text, Int16.self))
        case .int4: return rows.appendValue(bigEndian: try integer(text, Int32.self))
        case .int8: return rows.appendValue(bigEndian: try integer(text, Int64.self))
        case .text:
            if hasNUL(text) || !sj_is_utf8(text.baseAddress, text.count) { throw .invalidText }
            return rows.values.appendSlice(text)
        case .date: return rows.appendValue(bigEndian: try Calendar.date(text))
        case .timestamptz: return rows.appendValue(bigEndian: try Calendar.timestamp(text))
        }
    }

    /// The order-preserving prefix of a cell that was just written.
    @inline(__always)
    static func keyPrefix(_ cell: Slice, type: ColumnType, in rows: borrowing ChangeRows) -> UInt64 {
        let start = Int(cell.start)
        switch type {
        case .int2: return KeyPrefix.of(rows.values.load(bigEndian: Int16.self, at: start))
        case .int4, .date: return KeyPrefix.of(rows.values.load(bigEndian: Int32.self, at: start))
        case .int8, .timestamptz: return KeyPrefix.of(rows.values.load(bigEndian: Int64.self, at: start))
        case .text:
            return KeyPrefix.of(UnsafeRawBufferPointer(start: rows.values.base + start, count: Int(cell.length)))
        }
    }

    /// The unescaped UTF-8 of a JSON string.
    @inline(__always)
    static func string(_ value: sj_value) throws(ValueFault) -> UnsafeRawBufferPointer {
        guard Int(value.type) == SJ_STRING else { throw .wrongType }
        return UnsafeRawBufferPointer(start: value.pointer, count: Int(truncatingIfNeeded: value.bits))
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

    private static func hasNUL(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let start = text.baseAddress, text.count > 0 else { return false }
        return memchr(start, 0, text.count) != nil
    }
}
