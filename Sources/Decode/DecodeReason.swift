// Names the reasons for which a record is rejected.

/// Why a record could not be decoded: the values of ``DecodeFault/reason`` and of a metric label. The names are stable.
public enum DecodeReason: String, Sendable, CaseIterable {
    /// The payload is not a JSON document.
    case malformedJSON = "malformed_json"
    /// The payload is JSON, but not an object.
    case notAnObject = "not_an_object"
    /// A required field is missing.
    case missingField = "missing_field"
    /// The type of a field's value does not fit its column.
    case wrongType = "wrong_type"
    /// A value is of the right type, but its column cannot represent it.
    case outOfRange = "out_of_range"
    /// A text that PostgreSQL cannot store: not UTF-8, with an unpaired surrogate, or with a NUL.
    case invalidText = "invalid_text"
    /// The value of the action field is not one of the mapping's words.
    case unknownAction = "unknown_action"
    /// The event is not in the mapping's envelope.
    case badEnvelope = "bad_envelope"
    /// The route has no table for the record.
    case noRoute = "no_route"
    /// A field that the mapping reads appears twice.
    case duplicateField = "duplicate_field"
    /// The Kafka key of a record without payload does not name a row.
    case badKey = "bad_key"
    /// The record's Kafka key names another row than its payload.
    case keyMismatch = "key_mismatch"
    /// The payload, or the row that it becomes, is larger than the decoder accepts.
    case tooLarge = "too_large"
    /// The payload is nested deeper than the decoder accepts.
    case tooDeep = "too_deep"
}
