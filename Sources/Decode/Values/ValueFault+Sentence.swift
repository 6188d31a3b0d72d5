// Says in a sentence what was expected of a value.

import CSimdjson
import Records

extension ValueFault {
    /// One sentence that names the source of the value, and never the value.
    /// - Parameter actual: the type of the JSON value; SJ_ABSENT for a text from elsewhere.
    func sentence(_ name: String, _ codec: ValueCodec, _ actual: UInt8) -> String {
        let isText = Int(actual) == SJ_ABSENT
        let value = codec.isArray ? "an element of \(name)" : name
        switch self {
        case .wrongType where codec.isArray:
            if Int(actual) == SJ_ARRAY { return "each element of \(name) must be \(codec.form) or null" }
            return "\(name) must be an array, not \(EventFault.typeName(actual))"
        case .wrongType:
            if isText || codec.kind.types.contains(Int(actual)) { return "\(name) must be \(codec.form)" }
            return "\(name) must be \(codec.kind.rawValue), not \(EventFault.typeName(actual))"
        case .outOfRange: return "\(value) \(codec.outOfRange)"
        case .tooLong: return "\(name) makes the row larger than the decoder accepts"
        case .invalidText where isText: return "the \(name) is not UTF-8 or contains a NUL, which PostgreSQL cannot store"
        case .invalidText: return "\(value) contains a NUL character (\\u0000), which PostgreSQL cannot store"
        }
    }
}

extension ValueCodec {
    /// What JSON value a codec reads.
    enum Kind: String {
        case object = "an object"
        case boolean = "a boolean", integer = "an integer", number = "a number", string = "a string"
        case named = "a number, NaN, Infinity or -Infinity"
        case any = "JSON"

        /// The values of which only some are read.
        var types: [Int] {
            switch self {
            case .boolean, .integer: []
            case .object: [SJ_OBJECT]
            case .number: [SJ_INT64, SJ_UINT64, SJ_DOUBLE]
            case .named: [SJ_STRING]
            case .string: [SJ_STRING]
            case .any: [SJ_BOOL, SJ_INT64, SJ_UINT64, SJ_DOUBLE, SJ_STRING, SJ_ARRAY, SJ_OBJECT]
            }
        }
    }

    var kind: Kind {
        if takesAny { return .any }
        if format == .variableScaleDecimal { return .object }
        if let format { return format.microsecondDigits != nil || format == .days ? .number : .string }
        return switch type {
        case .bool: .boolean
        case .int2, .int4, .int8: .integer
        case .float4, .float8, .numeric: .named
        case .json, .jsonb: .any
        case .text, .date, .timestamptz, .uuid, .time, .timestamp, .interval, .bytea: .string
        }
    }

    /// What a value must be.
    var form: String {
        if format == .variableScaleDecimal { return "an object with the scale and a two's complement integer in base64" }
        if let format, format != .string, format != .hex, format != .base64Decimal {
            let since = type == .interval ? "" : type == .time ? " since midnight" : " since 1970"
            return "a \(format == .days ? "whole " : "")number of \(format.unit)\(since)"
        }
        if format == .base64Decimal { return "a two's complement integer in base64" }
        let usual =
            switch type {
            case .bool: "true or false"
            case .int2, .int4, .int8: "an integer"
            case .float4, .float8, .numeric: "a number, NaN, Infinity or -Infinity"
            case .text, .interval: "a string"
            case .json, .jsonb: "JSON"
            case .uuid: "a UUID, such as 01234567-89ab-cdef-0123-456789abcdef"
            case .date: "a date as YYYY-MM-DD"
            case .time: "a time as HH:MM:SS"
            case .timestamp: "an ISO 8601 timestamp, such as 2000-01-01T00:00:00"
            case .timestamptz: "an ISO 8601 timestamp with an offset, such as 2000-01-01T00:00:00Z"
            case .bytea: format == .hex ? "hexadecimal digits" : "base64"
            }
        return format == .string ? "\(usual), in a string" : usual
    }

    /// What a value is that is out of range.
    fileprivate var outOfRange: String {
        switch type {
        case .int2: "is outside int2 (\(Int16.min) to \(Int16.max))"
        case .int4: "is outside int4 (\(Int32.min) to \(Int32.max))"
        case .int8: "is outside int8 (\(Int64.min) to \(Int64.max))"
        case .numeric: "is outside numeric (131072 digits before the point, 16383 after it)"
        case .jsonb: "contains a number outside numeric (131072 digits before the point, 16383 after it)"
        case .date where format == nil: "is not a valid date"
        case .time, .timestamp, .timestamptz: format == nil ? "is not a valid time" : "is outside \(type.rawValue)"
        default: "is outside \(type.rawValue)"
        }
    }
}
