// Writes the Kafka key of an event, and reads the key of a tombstone.

import CSimdjson
import Records

/// The names by which a record key that is a JSON object has the key's columns: of the fields that the columns read, or else of the
/// columns; and `payload`, in which Kafka Connect puts the object if it sends its schema.
final class RecordKeyNames: Sendable {
    /// Where a column's value may be: indices of ``names``; `other` −1: its two names are one, or another column's.
    struct Column: Sendable, BitwiseCopyable {
        let field: Int
        let other: Int
    }

    /// One per key column, in key order.
    let columns: PlanTable<Column>
    /// The members' names as JSON, each with the colon: the form in which this program writes them.
    let members: NameTable
    let names: NameTable
    let count: Int
    /// Index of `payload`, which may be a column's name as well: no key column holds an object.
    let payload: Int

    /// The member of each key column. Fields of different objects may have one name.
    static func members(_ key: [(field: String, column: String)]) -> [String] {
        key.map { field, column in key.count { $0.field == field } == 1 ? field : column }
    }

    init(_ key: [(field: String, column: String)]) {
        let chosen = Self.members(key)
        var texts = chosen
        columns = PlanTable(
            key.enumerated().map { index, names in
                if texts.contains(names.column) { return Column(field: index, other: -1) }
                texts.append(names.column)
                return Column(field: index, other: texts.count - 1)
            })
        members = NameTable(
            chosen.map { name in
                var member = ByteBuffer()
                var name = name
                name.withUTF8 { member.append(jsonString: UnsafeRawBufferPointer($0)) }
                return String(decoding: member.bytes, as: UTF8.self) + ":"
            })
        if !texts.contains("payload") { texts.append("payload") }
        payload = texts.firstIndex(of: "payload") ?? 0
        names = NameTable(texts)
        count = texts.count
    }
}

extension EventReader {
    /// Writes the cells of a record without payload: the key columns from its Kafka key, the version, all others absent.
    /// - Returns: the operation and the key's prefix; no operation where the record is skipped.
    func tombstone(_ context: RecordContext, into rows: inout ChangeRows) throws(EventFault) -> (Operation?, UInt64) {
        guard effect(of: .delete) != nil else {
            skipped.pointee = .operation(.delete)
            return (nil, 0)
        }
        guard meetsConditions(withoutPayload: context) else { return (nil, 0) }
        if case .skipped = plan.nullPayload {
            skipped.pointee = .nullPayload
            return (nil, 0)
        }
        if kafkaKey == .none { throw .keyNamesNothing }
        guard let key = context.bytes(context.record.key) else { throw .noKey }
        var version = Slice.absent
        if case .versioned(let column, let step) = plan.nullPayload {
            do throws(EventFault) {
                version = try metadata(column, step, context, into: &rows)
            } catch {
                throw .nullPayloadWithoutVersion
            }
        }
        return (.delete, try readKey(key, version: version, into: &rows))
    }

    /// Writes the key columns' cells from a record key, the version's, and absent ones for the other columns.
    /// - Returns: the key's prefix.
    func readKey(_ key: UnsafeRawBufferPointer, version: Slice, into rows: inout ChangeRows) throws(EventFault) -> UInt64 {
        try parseKey(key)
        var prefix: UInt64 = 0
        for step in columns {
            guard step.keyPosition >= 0 else {
                rows.append(cell: step.isInDeletes ? version : .absent)
                continue
            }
            let cell = try keyCell(key, step, into: &rows)
            if step.keyPosition == 0 { prefix = ValueWriter.keyPrefix(cell, type: step.type, in: rows) }
            rows.append(cell: cell)
        }
        return prefix
    }

    /// Parses a key that is JSON, and looks up its values. Values of the event that was read before become invalid.
    func parseKey(_ key: UnsafeRawBufferPointer) throws(EventFault) {
        guard kafkaKey == .jsonArray || kafkaKey == .jsonObject else { return }
        let count = plan.key.count
        var root = sj_value()
        guard Int(sj_parse(parser, key.baseAddress, key.count, &root)) == SJ_OK else { throw .badKey }
        if kafkaKey == .jsonArray {
            guard Int(root.type) == SJ_ARRAY, Int(sj_at(&root, count).type) == SJ_ABSENT else { throw .badKey }
            for position in 0..<count { keyValues[position] = sj_at(&root, position) }
            return
        }
        let names = plan.keyNames
        guard Int(root.type) == SJ_OBJECT else { throw .badKey }
        sj_find(&root, names.names.names, names.count, keyValues)
        if Int(keyValues[names.payload].type) == SJ_OBJECT {
            root = keyValues[names.payload]
            sj_find(&root, names.names.names, names.count, keyValues)
        }
    }

    /// Writes the value that a parsed key has for a column.
    func keyCell(
        _ key: UnsafeRawBufferPointer, _ step: ColumnStep, into rows: inout ChangeRows
    ) throws(EventFault) -> Slice {
        do throws(ValueFault) {
            if kafkaKey == .text { return try ValueWriter.cell(text: key, step.codec, into: &rows) }
            return try keyCell(keyValue(step.keyPosition), step, into: &rows)
        } catch {
            throw .badKey
        }
    }

    /// The value that a parsed key has for the column at a position of the key.
    private func keyValue(_ position: Int) -> sj_value {
        guard kafkaKey == .jsonObject else { return keyValues[position] }
        let names = plan.keyNames.columns.start[position]
        let isOther = names.other >= 0 && Int(keyValues[names.field].type) == SJ_ABSENT
        return keyValues[isOther ? names.other : names.field]
    }

    private func keyCell(
        _ value: sj_value, _ step: ColumnStep, into rows: inout ChangeRows
    ) throws(ValueFault) -> Slice {
        guard Int(value.type) > SJ_NULL, !value.is_repeated else { throw .wrongType }
        return try ValueWriter.cell(value, step.codec, parser: parser, mayHoldNUL: true, into: &rows)
    }

    // MARK: The key of an event

    /// Looks up the key of an event that is skipped, and writes the key columns' cells, and absent ones for the other columns.
    /// - Returns: whether it has a key.
    func hasKey(into rows: inout ChangeRows) -> Bool {
        do throws(EventFault) {
            // From the first on: an event may be skipped before its conditions are asked. Values of an earlier event are no longer valid.
            for index in 1..<max(1, essentialObjects) {
                if index < conditionObjects {
                    try lookUpForCondition(objects[index], in: sj_value())
                } else {
                    try lookUp(objects[index], in: sj_value())
                }
            }
        } catch {
            return false
        }
        for step in columns {
            guard step.keyPosition >= 0, case .field(let slot) = step.source else {
                rows.append(cell: .absent)
                continue
            }
            do throws(ValueFault) {
                rows.append(cell: try keyCell(values[slot], step, into: &rows))
            } catch {
                return false
            }
        }
        return true
    }

    /// Appends the Kafka key of the event that was read last. Each row has one spelling: integers in the shortest decimal form, times in
    /// UTC, JSON without spaces and with the shortest escapes. Where the mapping says that keys name nothing, it is the text of a key of
    /// one column, or an array: the events of a row stay in one partition, in order.
    /// - Parameter rows: the cells of that event, as the row that is not finished.
    func appendKafkaKey(of rows: borrowing ChangeRows, to buffer: inout ByteBuffer) {
        let format: KafkaKeyFormat = kafkaKey == .none ? (plan.key.count == 1 ? .text : .jsonArray) : kafkaKey
        switch format {
        case .jsonArray: buffer.append(byte: UInt8(ascii: "["))
        case .jsonObject: buffer.append(byte: UInt8(ascii: "{"))
        case .text, .none: break
        }
        for (position, column) in plan.key.enumerated() {
            if position > 0 { buffer.append(byte: UInt8(ascii: ",")) }
            if format == .jsonObject {
                buffer.append(UnsafeRawBufferPointer(start: keyMembers[position].bytes, count: keyMembers[position].length))
            }
            guard let value = rows.values.bytes(of: rows.unfinishedCell(column: column)) else {
                preconditionFailure("a key has values")
            }
            if format == .text {
                buffer.appendText(of: value, columns[column].codec)
            } else {
                buffer.appendJSON(of: value, columns[column].codec)
            }
        }
        switch format {
        case .jsonArray: buffer.append(byte: UInt8(ascii: "]"))
        case .jsonObject: buffer.append(byte: UInt8(ascii: "}"))
        case .text, .none: break
        }
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
