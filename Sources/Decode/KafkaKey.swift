// Writes the Kafka key of an event, and reads the key of a tombstone.

import CSimdjson
import Records

extension EventReader {
    /// Writes the cells of a record without payload: the key columns from its Kafka key, all others absent.
    /// - Returns: the key's prefix.
    func tombstone(_ key: UnsafeRawBufferPointer?, into rows: inout ChangeRows) throws(EventFault) -> UInt64 {
        guard let key else { throw .noKey }
        var array = sj_value()
        if plan.kafkaKey == .json {
            guard Int(sj_parse(parser, key.baseAddress, key.count, &array)) == SJ_OK, Int(array.type) == SJ_ARRAY,
                Int(sj_at(&array, plan.key.count - 1).type) != SJ_ABSENT, Int(sj_at(&array, plan.key.count).type) == SJ_ABSENT
            else { throw .badKey }
        }
        var prefix: UInt64 = 0
        for step in columns {
            guard step.keyPosition >= 0 else {
                rows.append(cell: .absent)
                continue
            }
            do throws(ValueFault) {
                let cell =
                    switch plan.kafkaKey {
                    case .text: try ValueWriter.cell(text: key, step.codec, into: &rows)
                    case .json:
                        try ValueWriter.cell(
                            sj_at(&array, step.keyPosition), step.codec, parser: parser, mayHoldNUL: true, into: &rows)
                    }
                if step.keyPosition == 0 { prefix = ValueWriter.keyPrefix(cell, type: step.type, in: rows) }
                rows.append(cell: cell)
            } catch {
                throw .badKey
            }
        }
        return prefix
    }

    /// Appends the Kafka key of the event that was read last. Each row has one spelling: integers in the shortest decimal form, times in
    /// UTC, JSON without spaces and with the shortest escapes.
    /// - Parameter rows: the cells of that event, as the row that is not finished.
    func appendKafkaKey(of rows: borrowing ChangeRows, to buffer: inout ByteBuffer) {
        if plan.kafkaKey == .json { buffer.append(byte: UInt8(ascii: "[")) }
        for (position, column) in plan.key.enumerated() {
            if position > 0 { buffer.append(byte: UInt8(ascii: ",")) }
            guard let value = rows.values.bytes(of: rows.unfinishedCell(column: column)) else {
                preconditionFailure("a key has values")
            }
            if plan.kafkaKey == .json {
                buffer.appendJSON(of: value, columns[column].codec)
            } else {
                buffer.appendText(of: value, columns[column].codec)
            }
        }
        if plan.kafkaKey == .json { buffer.append(byte: UInt8(ascii: "]")) }
    }
}

extension ByteBuffer {
    /// Appends a key's value as JSON, as an event has it.
    mutating func appendJSON(of value: UnsafeRawBufferPointer, _ codec: ValueCodec) {
        if codec.isBareInJSON { return appendText(of: value, codec) }
        if codec.type == .text { return append(jsonString: value) }
        append(byte: UInt8(ascii: "\""))
        appendText(of: value, codec)
        append(byte: UInt8(ascii: "\""))
    }

    fileprivate mutating func append(jsonString text: UnsafeRawBufferPointer) {
        let hex: StaticString = "0123456789abcdef"
        append(byte: UInt8(ascii: "\""))
        for byte in text {
            let short: UInt8? =
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): byte
                case 0x08: UInt8(ascii: "b")
                case 0x0C: UInt8(ascii: "f")
                case 0x0A: UInt8(ascii: "n")
                case 0x0D: UInt8(ascii: "r")
                case 0x09: UInt8(ascii: "t")
                default: nil
                }
            if let short {
                append(byte: UInt8(ascii: "\\"))
                append(byte: short)
            } else if byte < 0x20 {
                for escape in "\\u00".utf8 { append(byte: escape) }
                append(byte: hex.utf8Start[Int(byte >> 4)])
                append(byte: hex.utf8Start[Int(byte & 15)])
            } else {
                append(byte: byte)
            }
        }
        append(byte: UInt8(ascii: "\""))
    }
}
