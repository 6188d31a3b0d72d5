// Compares a record's key with the row that its payload names.

import CSimdjson
import Glibc
import Records

extension EventReader {
    /// Compares the record's key with the cells of the row that was read last.
    @inline(never)
    func compare(_ key: UnsafeRawBufferPointer, into rows: inout ChangeRows) throws(EventFault) {
        if isExpected(key) { return }
        let end = rows.values.count
        let isEqual = names(key, theRowOf: &rows)
        rows.values.truncate(to: end)
        if isEqual { return }
        if plan.kafkaKeyMismatch == .fault { throw .keyMismatch }
        rows.keyMismatches += 1
    }

    /// Whether a key has the bytes that this program would write. Another key may name the row as well.
    private func isExpected(_ key: UnsafeRawBufferPointer) -> Bool {
        var cursor = KeyCursor(key)
        switch kafkaKey {
        case .none: return true
        case .text: return cursor.takesText(rowValue(0)) && cursor.isAtEnd
        case .jsonArray:
            for position in keySlots.indices {
                guard cursor.takes(UInt8(ascii: position == 0 ? "[" : ",")), cursor.takesJSON(rowValue(position)) else {
                    return false
                }
            }
            return cursor.takes(UInt8(ascii: "]")) && cursor.isAtEnd
        case .jsonObject:
            let hasSchema = cursor.skipSchema()
            for position in keySlots.indices {
                let member = keyMembers[position]
                guard cursor.takes(UInt8(ascii: position == 0 ? "{" : ",")), cursor.takes(member.bytes, count: member.length),
                    cursor.takesJSON(rowValue(position))
                else { return false }
            }
            return cursor.takes(UInt8(ascii: "}")) && (!hasSchema || cursor.takes(UInt8(ascii: "}"))) && cursor.isAtEnd
        }
    }

    /// The value that the payload has for the column at a position of the key.
    private func rowValue(_ position: Int) -> sj_value { values[keySlots[position]] }

    /// Whether a key has the row's values, however it writes them. The cells that are written for the comparison are left behind.
    private func names(_ key: UnsafeRawBufferPointer, theRowOf rows: inout ChangeRows) -> Bool {
        do throws(EventFault) {
            try parseKey(key)
            for column in plan.key {
                let cell = try keyCell(key, columns[column], into: &rows)
                let known = rows.unfinishedCell(column: column)
                guard let left = rows.values.bytes(of: cell), let right = rows.values.bytes(of: known),
                    left.count == right.count, left.elementsEqual(right)
                else { return false }
            }
            return true
        } catch {
            return false
        }
    }
}

/// Compares a key's bytes with values, from its start on. It takes what is written as this program would write it.
private struct KeyCursor {
    private var at: UnsafePointer<UInt8>
    private let end: UnsafePointer<UInt8>

    init(_ key: UnsafeRawBufferPointer) {
        // Bytes of a batch have an address, also where there are none.
        at = key.baseAddress!.assumingMemoryBound(to: UInt8.self)
        end = at + key.count
    }

    var isAtEnd: Bool { at == end }

    mutating func takes(_ byte: UInt8) -> Bool {
        guard at < end, at.pointee == byte else { return false }
        at += 1
        return true
    }

    mutating func takes(_ bytes: UnsafeRawPointer?, count: Int) -> Bool {
        guard count <= end - at else { return false }
        if let bytes, memcmp(at, bytes, count) != 0 { return false }
        at += count
        return true
    }

    /// Takes Kafka Connect's `{"schema":…,"payload":`. No text inside the schema has these bytes, for a quote in a text has a backslash
    /// before it.
    mutating func skipSchema() -> Bool {
        let (start, payload): (StaticString, StaticString) = ("{\"schema\":", ",\"payload\":")
        let former = at
        guard takes(start.utf8Start, count: start.utf8CodeUnitCount) else { return false }
        while let comma = memchr(at, Int32(UInt8(ascii: ",")), end - at) {
            at = UnsafePointer(comma.assumingMemoryBound(to: UInt8.self))
            if takes(payload.utf8Start, count: payload.utf8CodeUnitCount) { return true }
            at += 1
        }
        at = former
        return false
    }

    mutating func takesText(_ value: sj_value) -> Bool {
        switch Int(value.type) {
        case SJ_INT64: takesDecimal(Int64(bitPattern: value.bits))
        case SJ_STRING: takes(value.pointer, count: Int(truncatingIfNeeded: value.bits))
        default: false
        }
    }

    mutating func takesJSON(_ value: sj_value) -> Bool {
        guard Int(value.type) == SJ_STRING else { return takesText(value) }
        let count = Int(truncatingIfNeeded: value.bits)
        // A text that JSON writes with escapes is not compared here.
        for character in "\"\\".utf8 where memchr(value.pointer, Int32(character), count) != nil { return false }
        return takes(UInt8(ascii: "\"")) && takesText(value) && takes(UInt8(ascii: "\""))
    }

    /// Takes an integer in its shortest decimal form. Digits are added up, because writing them needs divisions.
    private mutating func takesDecimal(_ number: Int64) -> Bool {
        if number < 0, !takes(UInt8(ascii: "-")) { return false }
        var value: UInt64 = 0
        let first = at
        while at < end, at.pointee >= UInt8(ascii: "0"), at.pointee <= UInt8(ascii: "9"), at - first < 19 {
            value = value * 10 + UInt64(at.pointee - UInt8(ascii: "0"))
            at += 1
        }
        return at > first && value == number.magnitude && (first.pointee != UInt8(ascii: "0") || at - first == 1)
    }
}
