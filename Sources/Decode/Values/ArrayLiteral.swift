// Writes arrays as PostgreSQL's text form of them.

import CSimdjson
import Records

/// `{1,NULL,"a b"}`: `unnest` takes arrays of a parameter apart down to their elements, so a column's arrays are sent as text, which the
/// server casts. Each element has been checked as a value of its type.
enum ArrayLiteral {
    /// Writes a JSON array without arrays in it; elements may be null.
    static func cell(
        _ value: sj_value, _ codec: ValueCodec, parser: OpaquePointer, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        guard Int(value.type) == SJ_ARRAY else { throw .wrongType }
        var array = value
        var elements = sj_elements_of(&array)
        var element = sj_value()
        let codec = codec.element
        let start = rows.values.count
        rows.values.append(byte: UInt8(ascii: "{"))
        while sj_next(&elements, &element) {
            if rows.values.count > start + 1 { rows.values.append(byte: UInt8(ascii: ",")) }
            if Int(element.type) == SJ_NULL {
                rows.values.append(ascii: "NULL")
                continue
            }
            let cell = try ValueWriter.cell(element, codec, parser: parser, mayHoldNUL: true, into: &rows)
            if let text = try numericText(element, cell, codec, parser: parser, in: rows) {
                rows.values.append(text)
            } else {
                append(cell, codec, to: &rows)
            }
            rows.values.remove(at: Int(cell.start), count: Int(cell.length))
            // Here, and not only behind the array, because one array may be larger than the memory.
            if rows.isTooLong { throw .tooLong }
        }
        rows.values.append(byte: UInt8(ascii: "}"))
        return Slice(start: start, length: rows.values.count - start)
    }

    /// The text of a numeric in the document, where it is shorter than its digits: `1e131071` has 131,072 of them.
    private static func numericText(
        _ element: sj_value, _ cell: Slice, _ codec: ValueCodec, parser: OpaquePointer, in rows: borrowing ChangeRows
    ) throws(ValueFault) -> UnsafeRawBufferPointer? {
        guard codec.type == .numeric, codec.format == nil || codec.format == .string, let value = rows.values.bytes(of: cell)
        else { return nil }
        var element = element
        let text = Int(element.type) == SJ_STRING ? try ValueWriter.string(element) : ValueWriter.raw(&element, parser)
        return text.count < ValueText.digits(ofNumeric: value) ? text : nil
    }

    /// Appends the text of an element whose binary form is the end of the values.
    private static func append(_ cell: Slice, _ codec: ValueCodec, to rows: inout ChangeRows) {
        rows.values.append(byte: UInt8(ascii: "\""))
        if codec.wireType == .text || codec.type == .json || codec.type == .jsonb {
            let version = codec.type == .jsonb ? 1 : 0
            for index in Int(cell.start) + version..<Int(cell.start) + Int(cell.length) {
                let byte = rows.values.bytes[index]
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { rows.values.append(byte: UInt8(ascii: "\\")) }
                rows.values.append(byte: byte)
            }
        } else {
            // PostgreSQL reads its own forms, whatever the format in the event; the backslash of a bytea needs one before it here.
            if codec.type == .bytea { rows.values.append(ascii: "\\\\x") }
            rows.values.appendText(of: cell, ValueCodec(codec.type, format: codec.type == .bytea ? .hex : nil))
        }
        rows.values.append(byte: UInt8(ascii: "\""))
    }
}
