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
                    case .text: try ValueWriter.cell(text: key, type: step.type, into: &rows)
                    case .json:
                        try ValueWriter.cell(sj_at(&array, step.keyPosition), type: step.type, mayHoldNUL: true, into: &rows)
                    }
                if step.keyPosition == 0 { prefix = ValueWriter.keyPrefix(cell, type: step.type, in: rows) }
                rows.append(cell: cell)
            } catch {
                throw .badKey
            }
        }
        return prefix
    }

    /// Appends the Kafka key of the event that was read last. Each row has one spelling: integers in the shortest decimal form,
    /// JSON without spaces and with the shortest escapes.
    func appendKafkaKey(to buffer: inout ByteBuffer) {
        if plan.kafkaKey == .json { buffer.append(byte: UInt8(ascii: "[")) }
        for (position, column) in plan.key.enumerated() {
            guard case .field(let slot) = columns[column].source else { preconditionFailure("key columns are fields") }
            if position > 0 { buffer.append(byte: UInt8(ascii: ",")) }
            let value = values[slot]
            switch Int(value.type) {
            case SJ_INT64: buffer.append(decimal: Int64(bitPattern: value.bits))
            default:
                let text = UnsafeRawBufferPointer(start: value.pointer, count: Int(truncatingIfNeeded: value.bits))
                if plan.kafkaKey == .json { buffer.append(jsonString: text) } else { buffer.append(text) }
            }
        }
        if plan.kafkaKey == .json { buffer.append(byte: UInt8(ascii: "]")) }
    }
}

extension ByteBuffer {
    fileprivate mutating func append(byte: UInt8) { append(bigEndian: byte) }

    fileprivate mutating func append(decimal number: Int64) {
        if number < 0 { append(byte: UInt8(ascii: "-")) }
        var divisor: UInt64 = 1
        var rest = number.magnitude
        while rest / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / divisor))
            rest %= divisor
            divisor /= 10
        }
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
