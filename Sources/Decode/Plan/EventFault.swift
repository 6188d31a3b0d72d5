// Owns the fault of one record, its reason and its message.

import CSimdjson
import Records

/// The fault of one record. Plain data; the message is made only when the record is rejected.
enum EventFault: Error {
    case empty
    /// `at`: byte from 0; `slot`: the field that contains it; −1: unknown.
    case malformed(at: Int, slot: Int)
    case notUTF8(at: Int, slot: Int)
    case loneSurrogate(at: Int, slot: Int)
    case tooLarge(bytes: Int)
    case noMemory(bytes: Int)
    case tooDeep
    case notAnObject(actual: UInt8)
    case missing(slot: Int)
    case repeated(slot: Int)
    /// The mapping reads fields of this one, and it is not an object.
    case notAContainer(slot: Int, actual: UInt8)
    case actionNotAString(actual: UInt8)
    case unknownAction
    case value(ValueFault, column: Int, actual: UInt8)
    /// The record has no such header, key or timestamp.
    case missingMetadata(column: Int)
    case noKey
    case badKey
    /// A record without payload, and `kafka_key: none`.
    case keyNamesNothing
    /// Debezium's Delete has the key neither in its payload nor as the record's key.
    case deleteWithoutKey
    /// A record without payload does not have the version at which it deletes its row.
    case nullPayloadWithoutVersion
    /// Debezium's Delete has no version in its former row.
    case deleteWithoutVersion(slot: Int)
    /// The record's key names another row than the payload.
    case keyMismatch
    /// Debezium's `t`: the partition must stop, or the ingress refuses the event.
    case truncate(isRecord: Bool)
    /// There is no operation, and the record is none that Debezium sends besides the events of rows.
    case noOperation
    /// `specversion` is missing, or of a major version that is not known.
    case notACloudEvent
    /// The CloudEvent's data is not JSON.
    case dataIsBinary
}

extension EventFault {
    /// The stable code.
    var reason: DecodeReason {
        switch self {
        case .empty, .malformed: .malformedJSON
        case .notUTF8, .loneSurrogate: .invalidText
        case .tooLarge, .noMemory: .tooLarge
        case .tooDeep: .tooDeep
        case .notAnObject: .notAnObject
        case .noOperation, .notACloudEvent, .dataIsBinary: .badEnvelope
        case .missing, .missingMetadata, .nullPayloadWithoutVersion, .deleteWithoutVersion: .missingField
        case .repeated: .duplicateField
        case .notAContainer, .actionNotAString: .wrongType
        case .unknownAction, .truncate: .unknownAction
        case .value(.wrongType, _, _): .wrongType
        case .value(.outOfRange, _, _): .outOfRange
        case .value(.invalidText, _, _): .invalidText
        case .value(.tooLong, _, _): .tooLarge
        case .noKey, .badKey, .keyNamesNothing, .deleteWithoutKey: .badKey
        case .keyMismatch: .keyMismatch
        }
    }

    /// One sentence that names the field. It contains nothing of the record but positions and types of values.
    /// - Parameters:
    ///   - columns: as they were read.
    ///   - isFormer: the row was read from Debezium's `before`.
    func detail(
        _ plan: DecodePlan, _ columns: UnsafeBufferPointer<ColumnStep>, _ limits: DecodeLimits, ofFormerRow isFormer: Bool = false
    ) -> String {
        switch self {
        case .empty: "the payload is empty, which is not JSON"
        case .malformed(let at, let slot): "malformed JSON" + Self.position(at, slot, plan)
        case .notUTF8(let at, let slot): "bytes that are not UTF-8" + Self.position(at, slot, plan)
        case .loneSurrogate(let at, let slot): "an unpaired surrogate" + Self.position(at, slot, plan)
        case .tooLarge(let bytes): "the payload has \(bytes) bytes, more than the limit of \(limits.payloadBytes)"
        case .noMemory(let bytes): "there was no memory to parse a payload of \(bytes) bytes; give the process more"
        case .tooDeep: "the payload is nested deeper than \(limits.depth) levels"
        case .notAnObject(let actual): "the event must be a JSON object, not \(Self.typeName(actual))"
        case .missing(let slot): "\(plan.path(slot, ofFormerRow: isFormer)) is missing"
        case .repeated(let slot): "\(plan.path(slot, ofFormerRow: isFormer)) appears twice"
        case .notAContainer(let slot, let actual):
            "\(plan.path(slot, ofFormerRow: isFormer)) must be an object, not \(Self.typeName(actual))"
        case .actionNotAString(let actual): "\(Self.action(plan)) must be a string, not \(Self.typeName(actual))"
        case .unknownAction: "\(Self.action(plan)) must be one of \(plan.envelope.words.joined(separator: ", "))"
        case .value(let fault, let column, let actual):
            fault.sentence(Self.name(column, plan, ofFormerRow: isFormer), columns[column].codec, actual)
        case .missingMetadata(let column): "the record has no \(Self.name(column, plan))"
        case .noKey: "a record without payload deletes the row that its key names, but this record has no key"
        case .badKey: Self.key(plan)
        case .keyNamesNothing:
            "a record without payload deletes the row that its key names, but the mapping says kafka_key: none"
        case .deleteWithoutKey: "the Delete has the key of its row neither in /before nor as the record's key"
        case .deleteWithoutVersion(let slot):
            "the Delete has no version, \(plan.path(slot, ofFormerRow: isFormer)) of its former row: let the source send whole former rows "
                + "(REPLICA IDENTITY FULL), or take a version that each event has, such as event_path: /source/lsn"
        case .nullPayloadWithoutVersion: Self.version(plan)
        case .keyMismatch:
            "the record's key names another row than \(plan.key.map { Self.name($0, plan) }.joined(separator: ", "))"
        case .truncate(isRecord: false):
            "/op t (the source table was truncated) is not applied: a record with it stops its partition"
        case .truncate(isRecord: true):
            "the source table was truncated (op t), which is not applied: do to the table what it asks for, move the partition past this "
                + "record (docs/debezium.md), then POST /admin/retry"
        case .noOperation:
            "/op is missing: this is no change event of Debezium; rows without an envelope need 'envelope: upsert'"
        case .notACloudEvent:
            "/specversion must be 1.0: this is no CloudEvent in structured mode; in binary mode the payload is the row, which needs "
                + "'envelope: upsert'"
        case .dataIsBinary: "/data_base64 has data that is no JSON; a row needs /data"
        }
    }

    private static func position(_ at: Int, _ slot: Int, _ plan: DecodePlan) -> String {
        (at < 0 ? "" : " at byte \(at)") + (slot < 0 ? "" : ", in \(plan.pointers[slot].text)")
    }

    private static func version(_ plan: DecodePlan) -> String {
        guard case .versioned(let column, let step) = plan.nullPayload else { return "the record has no version" }
        let source = if case .header(let index) = step.source { "header \(plan.headers[index])" } else { "timestamp" }
        return "a record without payload deletes its row at the version in its \(source), which must be a "
            + "\(step.codec.typeName) for \(plan.columnNames[column])"
    }

    private static func action(_ plan: DecodePlan) -> String { plan.pointers[plan.envelope.slots.operation].text }

    /// The source of a column, for messages.
    private static func name(_ column: Int, _ plan: DecodePlan, ofFormerRow isFormer: Bool = false) -> String {
        switch plan.columns.start[column].source {
        case .field(let slot): plan.path(slot, ofFormerRow: isFormer)
        case .header(let index): "header \(plan.headers[index])"
        case .key: "key"
        case .timestamp: "timestamp"
        case .event: "the event"
        case .offset, .fixed: plan.columnNames[column]
        }
    }

    private static func key(_ plan: DecodePlan) -> String {
        let columns = plan.key.map { column in
            let codec = plan.columns.start[column].codec
            return "\(plan.columnNames[column]) (\(codec.typeName)\(codec.format.map { ", " + $0.rawValue } ?? ""))"
        }
        return switch plan.kafkaKey {
        case .text: "the record's key must be the \(columns.joined(separator: ", ")) as text"
        case .jsonArray, .none: "the record's key must be a JSON array of \(columns.joined(separator: ", "))"
        case .jsonObject: "the record's key must be a JSON object with \(columns.joined(separator: ", "))"
        }
    }

    static func typeName(_ type: UInt8) -> String {
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
