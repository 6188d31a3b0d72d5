// Declares the types of columns, and the form in which PostgreSQL receives a value of each.

/// A type, as a mapping file names it. The six that most mappings use come first: the decoder tells them apart from the others at once.
public enum ColumnType: String, Sendable, CaseIterable, BitwiseCopyable {
    case int2, int4, int8, text, date, timestamptz
    case bool, float4, float8, numeric, uuid, time, timestamp, interval, json, jsonb, bytea

    /// The type's object identifier (`pg_type.oid`; fixed since PostgreSQL 9.4).
    public var oid: UInt32 { oids.type }
    /// The object identifier of its array type.
    public var arrayOID: UInt32 { oids.array }

    private var oids: (type: UInt32, array: UInt32) {
        switch self {
        case .int2: (21, 1005)
        case .int4: (23, 1007)
        case .int8: (20, 1016)
        case .text: (25, 1009)
        case .date: (1082, 1182)
        case .timestamptz: (1184, 1185)
        case .bool: (16, 1000)
        case .float4: (700, 1021)
        case .float8: (701, 1022)
        case .numeric: (1700, 1231)
        case .uuid: (2950, 2951)
        case .time: (1083, 1183)
        case .timestamp: (1114, 1115)
        case .interval: (1186, 1187)
        case .json: (114, 199)
        case .jsonb: (3802, 3807)
        case .bytea: (17, 1001)
        }
    }

    /// The SQL name of the type's array type, for casting a parameter.
    public var arrayName: String { rawValue + "[]" }

    /// Equal values have equal bytes, and the other way round: then bytes can be compared to find the events of one key.
    public var isKey: Bool {
        switch self {
        case .float4, .float8, .numeric, .interval, .json, .jsonb: false
        case .int2, .int4, .int8, .text, .date, .timestamptz, .bool, .uuid, .time, .timestamp, .bytea: true
        }
    }

    /// All of a value fits the prefix of a key; see ``KeyPrefix``.
    public var fitsKeyPrefix: Bool {
        switch self {
        case .int2, .int4, .int8, .date, .time, .timestamp, .timestamptz, .bool: true
        case .text, .float4, .float8, .numeric, .uuid, .interval, .json, .jsonb, .bytea: false
        }
    }
}
