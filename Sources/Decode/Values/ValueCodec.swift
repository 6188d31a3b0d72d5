// Says how the values of one column are read and written: type, format, and what is done about NUL characters.

import Records

/// How a value is written in JSON: the mapping key `format`.
enum ValueFormat: String, Sendable, CaseIterable, BitwiseCopyable {
    case iso, epochSeconds = "epoch_s", epochMilliseconds = "epoch_ms", epochMicroseconds = "epoch_us"
    case epochNanoseconds = "epoch_ns", days, string, base64, hex, base64Decimal = "base64_decimal"
    case variableScaleDecimal = "variable_scale_decimal"

    /// The formats of a type; the first is that of a mapping that names none. Empty: the type has one form.
    static func formats(of type: ColumnType) -> [ValueFormat] {
        let epochs: [ValueFormat] = [.epochSeconds, .epochMilliseconds, .epochMicroseconds, .epochNanoseconds]
        return switch type {
        case .date, .timestamp, .timestamptz: [.iso] + epochs + [.days]
        case .time, .interval: [.iso] + epochs
        case .bytea: [.base64, .hex]
        case .numeric: [.string, .base64Decimal, .variableScaleDecimal]
        case .bool, .int2, .int4, .int8, .float4, .float8: [.string]
        case .text, .uuid, .json, .jsonb: []
        }
    }

    /// Decimal digits between one of the format's units and a microsecond; `nil`: the format is no count of a unit.
    var microsecondDigits: Int? {
        switch self {
        case .epochSeconds: 6
        case .epochMilliseconds: 3
        case .epochMicroseconds: 0
        case .epochNanoseconds: -3
        case .iso, .days, .string, .base64, .hex, .base64Decimal, .variableScaleDecimal: nil
        }
    }

    /// The unit of a count, for messages.
    var unit: String {
        switch self {
        case .epochSeconds: "seconds"
        case .epochMilliseconds: "milliseconds"
        case .epochMicroseconds: "microseconds"
        case .epochNanoseconds: "nanoseconds"
        default: "days"
        }
    }
}

/// What is done about a NUL character, which PostgreSQL cannot store: the mapping key `nul`.
enum NULPolicy: String, Sendable, CaseIterable, BitwiseCopyable {
    /// The event is refused.
    case refuse
    /// The character is left out.
    case strip
    /// U+FFFD takes its place.
    case replace
}

/// How the values of one column are read and written.
struct ValueCodec: Sendable, BitwiseCopyable {
    /// The types that most columns have, in their usual form; everything else is `other`.
    enum Simple: Sendable, BitwiseCopyable { case int2, int4, int8, text, other }

    let type: ColumnType
    let isArray: Bool
    /// `nil`: the type's usual form.
    let format: ValueFormat?
    /// Digits after the point of a `base64_decimal`.
    let scale: Int16
    let nul: NULPolicy
    /// The column has a cast and no type: a string is sent as it is, every other value as its text in the document.
    let takesAny: Bool
    /// The format is that of an event's schema, and not of the mapping. A decimal may be a JSON number all the same: Kafka Connect's
    /// `decimal.format` changes the value, and not the schema.
    let isFromSchema: Bool
    /// Hashes the values; the column gets the digests as text.
    let hasher: ValueHasher?
    let simple: Simple

    init(
        _ type: ColumnType, isArray: Bool = false, format: ValueFormat? = nil, scale: Int16 = 0, nul: NULPolicy = .refuse,
        takesAny: Bool = false, isFromSchema: Bool = false, hasher: ValueHasher? = nil
    ) {
        self.type = type
        self.isArray = isArray
        self.format = format == .iso || format == .base64 ? nil : format
        self.scale = scale
        self.nul = nul
        self.takesAny = takesAny
        self.isFromSchema = isFromSchema
        self.hasher = hasher
        let isUsual = !isArray && format == nil && !takesAny && hasher == nil
        simple =
            switch type {
            case .int2 where isUsual: .int2
            case .int4 where isUsual: .int4
            case .int8 where isUsual: .int8
            case .text where isUsual: .text
            default: .other
            }
    }

    /// The codec of the values themselves, where they are hashed.
    var plain: ValueCodec {
        ValueCodec(
            type, isArray: isArray, format: format, scale: scale, nul: nul, takesAny: takesAny, isFromSchema: isFromSchema)
    }

    /// The codec of values in the form that an event's schema names.
    func with(format: ValueFormat, scale: Int16) -> ValueCodec {
        ValueCodec(type, format: format, scale: scale, nul: nul, isFromSchema: true, hasher: hasher)
    }

    /// The codec of an array's elements.
    var element: ValueCodec { ValueCodec(type, format: format, scale: scale, nul: nul) }

    /// The codec needs a value's own text in the document; see `sj_raw`.
    var needsTokens: Bool {
        switch type {
        case .float4, .float8, .numeric, .json, .jsonb: format == nil
        default: takesAny || (format != nil && format != .string && format != .hex)
        }
    }

    /// The type that the value's binary form is of.
    var wireType: ColumnType { isArray || type == .interval ? .text : type }

    /// The values are JSON of any kind.
    var isDocument: Bool { !isArray && (type == .json || type == .jsonb) }

    /// A key of this form is a number, true or false in JSON, and otherwise a string.
    var isBareInJSON: Bool {
        switch type {
        case .int2, .int4, .int8, .bool: format == nil
        default: format?.microsecondDigits != nil || format == .days
        }
    }

    var typeName: String { isArray ? type.arrayName : type.rawValue }
}
