// What is wrong with one record, as the decoder finds it, and the sentence that says so.

import CSimdjson
import Records

/// What is wrong with one record. Plain data: the sentence is made later, once, where the record is given up.
enum EventFault: Error {
    case empty
    /// `slot`: the field the place lies in, −1 where none is known; `at`: byte from 0, −1 likewise.
    case malformed(at: Int, slot: Int)
    case notUTF8(at: Int, slot: Int)
    case loneSurrogate(at: Int, slot: Int)
    case tooLarge(bytes: Int)
    case tooDeep
    case notAnObject(found: UInt8)
    case missing(slot: Int)
    case repeated(slot: Int)
    /// Fields lie below this one, and it is no object.
    case noContainer(slot: Int, found: UInt8)
    case actionIsNoText(found: UInt8)
    case unknownAction
    case value(ValueFault, column: Int, found: UInt8)
    /// The record has no such header, key or timestamp.
    case missingMetadata(column: Int)
    case noKey
    case badKey
}

extension EventFault {
    /// The stable name.
    var reason: DecodeReason {
        switch self {
        case .empty, .malformed: .malformedJSON
        case .notUTF8, .loneSurrogate: .invalidText
        case .tooLarge: .tooLarge
        case .tooDeep: .tooDeep
        case .notAnObject: .notAnObject
        case .missing, .missingMetadata: .missingField
        case .repeated: .duplicateField
        case .noContainer, .actionIsNoText: .wrongType
        case .unknownAction: .unknownAction
        case .value(.wrongType, _, _): .wrongType
        case .value(.outOfRange, _, _): .outOfRange
        case .value(.invalidText, _, _): .invalidText
        case .noKey, .badKey: .badKey
        }
    }

    /// One sentence that names the field. It holds nothing of the record but positions and kinds of values.
    func detail(_ plan: DecodePlan, _ limits: DecodeLimits) -> String {
        switch self {
        case .empty: "the payload is empty, which is no JSON"
        case .malformed(let at, let slot): "malformed JSON" + Self.place(at, slot, plan)
        case .notUTF8(let at, let slot): "bytes that are not UTF-8" + Self.place(at, slot, plan)
        case .loneSurrogate(let at, let slot): "half of a surrogate pair" + Self.place(at, slot, plan)
        case .tooLarge(let bytes): "the payload has \(bytes) bytes, more than the \(limits.payloadBytes) that are taken"
        case .tooDeep: "the payload is nested deeper than \(limits.depth) levels"
        case .notAnObject(let found): "the event must be a JSON object, not \(Self.kind(found))"
        case .missing(let slot): "\(plan.pointers[slot].text) is missing"
        case .repeated(let slot): "\(plan.pointers[slot].text) appears twice"
        case .noContainer(let slot, let found):
            "\(plan.pointers[slot].text) must be an object, not \(Self.kind(found))"
        case .actionIsNoText(let found): "\(Self.action(plan).pointer) must be a string, not \(Self.kind(found))"
        case .unknownAction: "\(Self.action(plan).pointer) must be one of \(Self.action(plan).words)"
        case .value(let fault, let column, let found): Self.value(fault, column, found, plan)
        case .missingMetadata(let column): "the record has no \(Self.name(column, plan))"
        case .noKey: "a record without payload deletes the row its key names, and it has no key"
        case .badKey: Self.key(plan)
        }
    }

    private static func place(_ at: Int, _ slot: Int, _ plan: DecodePlan) -> String {
        (at < 0 ? "" : " at byte \(at)") + (slot < 0 ? "" : ", in \(plan.pointers[slot].text)")
    }

    private static func action(_ plan: DecodePlan) -> (pointer: String, words: String) {
        switch plan.envelope {
        case .action(let action):
            (plan.pointers[action.slot].text, action.words.joined(separator: ", "))
        }
    }

    /// What a column reads, as a message should call it.
    private static func name(_ column: Int, _ plan: DecodePlan) -> String {
        switch plan.columns.start[column].source {
        case .field(let slot): plan.pointers[slot].text
        case .header(let index): "header \(plan.headers[index])"
        case .key: "key"
        case .timestamp: "timestamp"
        case .offset, .fixed: plan.columnNames[column]
        }
    }

    private static func value(_ fault: ValueFault, _ column: Int, _ found: UInt8, _ plan: DecodePlan) -> String {
        let name = name(column, plan)
        let type = plan.columns.start[column].type
        return switch (fault, type) {
        case (.wrongType, _) where Int(found) == SJ_STRING && type == .date: "\(name) must be a date as YYYY-MM-DD"
        case (.wrongType, _) where Int(found) == SJ_STRING && type == .timestamptz:
            "\(name) must be a timestamp as RFC 3339 writes it, such as 2000-01-01T00:00:00Z"
        case (.wrongType, .int2), (.wrongType, .int4), (.wrongType, .int8):
            "\(name) must be an integer, not \(kind(found))"
        case (.wrongType, _): "\(name) must be a string, not \(kind(found))"
        case (.outOfRange, .int2): "\(name) is outside int2 (\(Int16.min) to \(Int16.max))"
        case (.outOfRange, .int4): "\(name) is outside int4 (\(Int32.min) to \(Int32.max))"
        case (.outOfRange, .int8): "\(name) is outside int8 (\(Int64.min) to \(Int64.max))"
        case (.outOfRange, .date): "\(name) is no day of the calendar"
        case (.outOfRange, _): "\(name) is no time of the calendar"
        case (.invalidText, _) where Int(found) == SJ_STRING:
            "\(name) holds a NUL character (\\u0000), which PostgreSQL cannot store"
        case (.invalidText, _): "the \(name) is not UTF-8, or holds a NUL, which PostgreSQL cannot store"
        }
    }

    private static func key(_ plan: DecodePlan) -> String {
        let columns = plan.key.map { "\(plan.columnNames[$0]) (\(plan.columns.start[$0].type.rawValue))" }
        return switch plan.kafkaKey {
        case .text: "the record's key must be the \(columns.joined(separator: ", ")) as text"
        case .json: "the record's key must be a JSON array of \(columns.joined(separator: ", "))"
        }
    }

    private static func kind(_ type: UInt8) -> String {
        switch Int(type) {
        case SJ_NULL: "null"
        case SJ_BOOL: "a boolean"
        case SJ_INT64, SJ_UINT64: "an integer"
        case SJ_DOUBLE: "a number with a fraction or an exponent"
        case SJ_STRING: "a string"
        case SJ_ARRAY: "an array"
        default: "an object"
        }
    }
}
