// The stable names of what can be wrong with a record.

/// Why a record could not be decoded: the values of ``DecodeFault/reason``, and of a metric's label.
public enum DecodeReason: String, Sendable, CaseIterable {
    /// The payload is no JSON document.
    case malformedJSON = "malformed_json"
    /// The payload is JSON, but no object.
    case notAnObject = "not_an_object"
    /// A field that is required is not there.
    case missingField = "missing_field"
    /// A field holds another kind of value than its column.
    case wrongType = "wrong_type"
    /// A value is of the right kind, but none its column can hold.
    case outOfRange = "out_of_range"
    /// A text that PostgreSQL cannot store: not UTF-8, half of a surrogate pair, or with a NUL.
    case invalidText = "invalid_text"
    /// The action is none of the mapping's words.
    case unknownAction = "unknown_action"
    /// A field that the mapping reads appears twice.
    case duplicateField = "duplicate_field"
    /// The Kafka key of a record without a payload names no row.
    case badKey = "bad_key"
    /// The payload is larger than the decoder takes.
    case tooLarge = "too_large"
    /// The payload is nested deeper than the decoder takes.
    case tooDeep = "too_deep"
}
