// Compiles what a column says about its values: `type`, `cast`, `format`, `scale` and `nul`.

import Platform
import Records
import Settings

/// How the values of a column are read, and what the server makes of them.
struct ColumnValues {
    let codec: ValueCodec
    /// The SQL name of the type to which the server casts each value.
    let cast: String?
    /// Its values have several forms, and the mapping names none.
    let takesFormat: Bool
    /// The key, where the values are hashed.
    let hashKey: HashKey?

    /// Compiles the keys of one column.
    /// - Parameter assumed: the type where the mapping names neither a type nor a cast; `nil`: one of them is needed.
    /// - Returns: `nil` after a fault.
    static func compile(
        _ node: YAMLNode, _ keys: [String: YAMLNode], _ subject: String, assumed: ColumnType?, reader: inout MappingReader
    ) -> ColumnValues? {
        let before = reader.faults.count
        let cast = keys["cast"].flatMap { castName($0, subject, &reader) }
        var type = assumed
        var isArray = false
        if let node = keys["type"] {
            guard let (found, foundArray) = typeName(node, subject, &reader) else { return nil }
            (type, isArray) = (found, foundArray)
        }
        let takesAny = type == nil && keys["cast"] != nil
        guard let type = takesAny ? .text : type else {
            reader.fault(node, "\(subject) needs a type: \(names)")
            return nil
        }
        let format = keys["format"].flatMap { self.format($0, subject, takesAny ? nil : type, &reader) }
        let scale = self.scale(keys["scale"], format, node, subject, &reader)
        let nul = keys["nul"].flatMap { policy($0, subject, type, &reader) }
        let isHashable = type.isKey && !isArray && keys["cast"] == nil
        let hashKey = hashKey(keys, subject, isHashable ? nil : (isArray ? type.arrayName : type.rawValue), node, &reader)
        guard reader.faults.count == before else { return nil }
        let codec = ValueCodec(
            type, isArray: isArray, format: format, scale: scale, nul: nul ?? .refuse, takesAny: takesAny,
            hasher: hashKey?.hasher)
        let takesFormat =
            keys["format"] == nil && !isArray && !takesAny
            && [.date, .time, .timestamp, .timestamptz, .interval, .numeric].contains(type)
        return ColumnValues(codec: codec, cast: cast, takesFormat: takesFormat, hashKey: hashKey)
    }

    /// - Parameter unfit: the column's type, where its values cannot be hashed.
    private static func hashKey(
        _ keys: [String: YAMLNode], _ subject: String, _ unfit: String?, _ column: YAMLNode, _ reader: inout MappingReader
    ) -> HashKey? {
        guard let hash = keys["hash"] else {
            if let key = keys["hash_key"] { reader.fault(key, "\(subject): hash_key belongs to hash") }
            return nil
        }
        guard reader.choice(hash, "\(subject): hash", of: HashKind.self) != nil else { return nil }
        if keys["cast"] != nil {
            reader.fault(hash, "\(subject): hash makes a text, which cannot be cast: name the type of the value itself")
        } else if let unfit {
            reader.fault(hash, "\(subject): type \(unfit) cannot be hashed: values that are equal may have different texts")
        }
        guard let key = keys["hash_key"] else {
            reader.fault(column, "\(subject): hash needs hash_key, the file with the key")
            return nil
        }
        return HashKey.load(key, subject, &reader)
    }

    private static let names = ColumnType.allCases.map(\.rawValue).joined(separator: ", ")

    private static func typeName(_ node: YAMLNode, _ subject: String, _ reader: inout MappingReader) -> (ColumnType, Bool)? {
        guard let text = reader.string(node, "\(subject): type") else { return nil }
        let isArray = text.hasSuffix("[]")
        let name = isArray ? String(text.dropLast(2)) : text
        if let type = ColumnType(rawValue: name) { return (type, isArray) }
        let meant = alias(name)?.rawValue ?? Nearest.name(to: name, among: ColumnType.allCases.map(\.rawValue))
        reader.fault(
            node,
            "\(subject): type '\(text)' is not one of \(names), or one of these with [] for an array; any other is a cast"
                + (meant.map { MappingReader.suggestion($0 + (isArray ? "[]" : "")) } ?? ""))
        return nil
    }

    /// The type that has another name in SQL, or in other programs; with a length or precision, as in `varchar(20)`.
    private static func alias(_ name: String) -> ColumnType? {
        let words = name.lowercased().replacing(#/\([^)]*\)/#, with: " ").split(separator: " ").joined(separator: " ")
        return switch words {
        case "boolean": .bool
        case "smallint", "int16": .int2
        case "integer", "int", "int32", "serial": .int4
        case "bigint", "long", "int64", "bigserial": .int8
        case "real": .float4
        case "double precision", "double", "float": .float8
        case "decimal", "number": .numeric
        case "varchar", "character varying", "char", "character", "bpchar", "string": .text
        case "datetime", "timestamp without time zone": .timestamp
        case "timestamp with time zone": .timestamptz
        case "time without time zone": .time
        case "object": .jsonb
        case "bytes", "binary", "blob": .bytea
        default: ColumnType(rawValue: words)
        }
    }

    private static func format(
        _ node: YAMLNode, _ subject: String, _ type: ColumnType?, _ reader: inout MappingReader
    ) -> ValueFormat? {
        guard let format = reader.choice(node, "\(subject): format", of: ValueFormat.self) else { return nil }
        let fitting = type.map(ValueFormat.formats) ?? []
        if fitting.contains(format) { return format }
        let others = fitting.map(\.rawValue).joined(separator: ", ")
        reader.fault(
            node,
            "\(subject): format \(format.rawValue) does not fit "
                + (type.map { "type \($0.rawValue)" + (others.isEmpty ? ", which has one form" : ", which takes \(others)") }
                    ?? "a column without a type"))
        return nil
    }

    private static func scale(
        _ node: YAMLNode?, _ format: ValueFormat?, _ column: YAMLNode, _ subject: String, _ reader: inout MappingReader
    ) -> Int16 {
        guard let node else {
            if format == .base64Decimal {
                reader.fault(column, "\(subject): format base64_decimal needs a scale, such as 'scale: 2'")
            }
            return 0
        }
        if format != .base64Decimal {
            reader.fault(node, "\(subject): scale belongs to format base64_decimal")
        } else if let text = reader.string(node, "\(subject): scale") {
            if let scale = Int16(text), (-16_383...16_383).contains(scale) { return scale }
            reader.fault(node, "\(subject): scale must be an integer from -16383 to 16383")
        }
        return 0
    }

    private static func policy(
        _ node: YAMLNode, _ subject: String, _ type: ColumnType, _ reader: inout MappingReader
    ) -> NULPolicy? {
        guard let policy = reader.choice(node, "\(subject): nul", of: NULPolicy.self) else { return nil }
        if [.text, .json, .jsonb].contains(type) { return policy }
        reader.fault(node, "\(subject): nul is for text, json, jsonb and columns that have only a cast")
        return nil
    }

    /// A type as SQL names it: a name, or schema.name, quoted where it has other characters than letters, digits and underscores; then
    /// perhaps a modifier and `[]`. Nothing else gets into the SQL.
    private static func castName(_ node: YAMLNode, _ subject: String, _ reader: inout MappingReader) -> String? {
        guard let text = reader.string(node, "\(subject): cast") else { return nil }
        let simple = #/(?:[A-Za-z_][A-Za-z0-9_]*|"[^"\0]+")(?:\.(?:[A-Za-z_][A-Za-z0-9_]*|"[^"\0]+"))?/#
        let words = #/double precision|character varying|bit varying|(?:time|timestamp) with(?:out)? time zone/#
        var name = text
        if name.hasSuffix("[]") { name.removeLast(2) }
        if let modifier = name.firstMatch(of: #/\([0-9]+(?:, ?[0-9]+)?\)$/#) { name.removeSubrange(modifier.range) }
        if name.wholeMatch(of: simple) != nil || name.wholeMatch(of: words) != nil { return text }
        reader.fault(
            node,
            "\(subject): cast '\(text)' is not a type as SQL names it, such as inet, public.citext, vector(3) or \"My type\"[]")
        return nil
    }
}
