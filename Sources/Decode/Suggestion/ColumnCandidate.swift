// Owns the ways in which a column may read a field's values, of which a suggestion takes the first that takes all of them.

import CSimdjson
import Records

/// One way to read a field: the keys `type`, `format`, `scale`, `nul` and `cast` of a column.
struct ColumnCandidate: Sendable {
    /// What must hold beyond what the codec accepts.
    enum Rule: Sendable {
        case none
        /// Values of these JSON types only: most codecs take more than one.
        case types([Int])
        /// A string with the hyphens of a UUID; 32 digits may be a hash.
        case hyphens
        /// A string that looks like a JSON object or array, or an array of such strings.
        case document
        /// A number no larger than the format has in the year 5138; days up to 2,700 years from 1970. Smaller units come later. Also an
        /// array of them.
        case size
    }

    let codec: ValueCodec
    var cast: String?
    var rule = Rule.none

    /// The keys of the column, as YAML.
    var keys: String {
        var keys: [String] = []
        if !codec.takesAny { keys.append("type: " + (codec.isArray ? "\"\(codec.typeName)\"" : codec.typeName)) }
        if let format = codec.format { keys.append("format: \(format.rawValue)") }
        if codec.format == .base64Decimal { keys.append("scale: \(codec.scale)") }
        if codec.nul != .refuse { keys.append("nul: \(codec.nul.rawValue)") }
        if let cast { keys.append("cast: " + SuggestedName.yaml(cast)) }
        return keys.joined(separator: ", ")
    }

    /// It reads numbers as moments, in another unit than days.
    var countsSmallUnits: Bool {
        switch codec.type {
        case .date, .timestamp, .timestamptz: codec.format?.microsecondDigits != nil
        default: false
        }
    }

    var isKey: Bool { codec.type.isKey && !codec.isArray && cast == nil && !codec.takesAny }

    /// Whether a value that is not null can be read in this way.
    func accepts(_ value: sj_value, _ parser: SurveyParser, _ rows: inout ChangeRows) -> Bool {
        switch rule {
        case .none: break
        case .types(let types): if !types.contains(Int(value.type)) { return false }
        case .hyphens: if Int(value.type) != SJ_STRING || value.bits != 36 { return false }
        case .document: if !Self.all(value, { Self.isDocument($0, parser) }) { return false }
        case .size: if !Self.all(value, hasSize) { return false }
        }
        defer { rows.abandonRow() }
        do throws(ValueFault) {
            _ = try ValueWriter.cell(value, codec, parser: parser.pointer, mayHoldNUL: true, into: &rows)
            return true
        } catch {
            return false
        }
    }

    /// Whether a value, or of an array each element that is not null, passes.
    private static func all(_ value: sj_value, _ passes: (sj_value) -> Bool) -> Bool {
        guard Int(value.type) == SJ_ARRAY else { return passes(value) }
        var array = value
        var elements = sj_elements_of(&array)
        var element = sj_value()
        while sj_next(&elements, &element) {
            if Int(element.type) != SJ_NULL, !passes(element) { return false }
        }
        return true
    }

    private static func isDocument(_ value: sj_value, _ parser: SurveyParser) -> Bool {
        guard Int(value.type) == SJ_STRING, let first = parser.string(value).first else { return false }
        return first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
    }

    private func hasSize(_ value: sj_value) -> Bool {
        let number: Double
        switch Int(value.type) {
        case SJ_INT64: number = abs(Double(Int64(bitPattern: value.bits)))
        case SJ_DOUBLE: number = abs(Double(bitPattern: value.bits))
        default: return false
        }
        if codec.type == .time || codec.type == .interval { return true }
        return switch codec.format {
        case .days: number < 1e6
        case .epochSeconds: number < 1e11
        case .epochMilliseconds: number < 1e14
        case .epochMicroseconds: number < 1e17
        default: true
        }
    }

    // MARK: Without a table

    /// By the values alone: the narrowest type first. The last one takes every value.
    static let general: [ColumnCandidate] =
        [
            ColumnCandidate(codec: ValueCodec(.bool)),
            ColumnCandidate(codec: ValueCodec(.int8)),
            ColumnCandidate(codec: ValueCodec(.numeric), rule: .types([SJ_INT64, SJ_UINT64, SJ_DOUBLE])),
            ColumnCandidate(codec: ValueCodec(.uuid), rule: .hyphens),
            ColumnCandidate(codec: ValueCodec(.date)), ColumnCandidate(codec: ValueCodec(.timestamptz)),
            ColumnCandidate(codec: ValueCodec(.timestamp)),
            ColumnCandidate(codec: ValueCodec(.text)), ColumnCandidate(codec: ValueCodec(.text, nul: .strip)),
        ] + [ColumnType.int8, .numeric, .bool, .text].map { ColumnCandidate(codec: ValueCodec($0, isArray: true)) } + documents

    private static let documents: [ColumnCandidate] =
        [(ColumnType.jsonb, NULPolicy.refuse), (.jsonb, .strip), (.json, .strip)].map {
            ColumnCandidate(codec: ValueCodec($0, nul: $1))
        }

    // MARK: For a table's column

    private static let typeNames: [String: ColumnType] = [
        "smallint": .int2, "integer": .int4, "bigint": .int8, "character varying": .text, "character": .text, "boolean": .bool,
        "real": .float4, "double precision": .float8, "timestamp with time zone": .timestamptz,
        "timestamp without time zone": .timestamp, "time without time zone": .time,
    ]

    /// The type of a table's column, and whether it is an array of it; no type: the server has to cast to it.
    private static func type(of column: TableOutline.Column) -> (name: String, type: ColumnType?, isArray: Bool) {
        let isArray = column.type.hasSuffix("[]")
        var name = isArray ? String(column.type.dropLast(2)) : column.type
        if let range = name.firstMatch(of: #/\([\d,-]+\)/#)?.range { name.removeSubrange(range) }
        return (name, typeNames[name] ?? ColumnType(rawValue: name), isArray)
    }

    /// The two codecs of a field whose format an event's schema names: as the column has it, without a format, and as values are read.
    /// `nil`: the column takes none from there.
    /// - Parameter column: of the table; `nil`: the field's own type decides.
    static func named(_ form: SchemaForm, _ column: TableOutline.Column?) -> (ColumnCandidate, read: ColumnCandidate)? {
        var type = form.types[0]
        var cast: String?
        if let column {
            let found = Self.type(of: column)
            if found.name == "money", type == .numeric {
                cast = "money"
            } else {
                guard let known = found.type, !found.isArray, form.types.contains(known) else { return nil }
                type = known
            }
        } else {
            guard form.isNamed else { return nil }
        }
        if form.isDocument {
            let document = ColumnCandidate(codec: ValueCodec(.text), cast: type.rawValue)
            return (document, read: document)
        }
        let codec = ValueCodec(type)
        return (
            ColumnCandidate(codec: codec, cast: cast),
            read: ColumnCandidate(codec: codec.with(format: form.format, scale: form.scale))
        )
    }

    /// By the type of the table's column: in its usual form, in its other ones, and last whatever the server makes of the text.
    /// - Parameter documentsAreTexts: JSON always travels as a text, as in Debezium's events.
    static func candidates(ofColumn column: TableOutline.Column, documentsAreTexts: Bool) -> [ColumnCandidate] {
        let modifier = column.type.firstMatch(of: #/\((\d+)(?:,(-?\d+))?\)/#)
        let (name, known, isArray) = type(of: column)
        // The literal of an array, and of most types, is a string. 20240101 is a date, too, and 1 is true. Values of other types may be
        // written as numbers, or, as a vector, as a JSON array.
        let rule: Rule =
            switch known {
            case _ where isArray: .types([SJ_STRING])
            case nil, .text: .none
            case .date, .bool: .types([SJ_STRING, SJ_INT64])
            default: .types([SJ_STRING])
            }
        let cast = ColumnCandidate(
            codec: ValueCodec(.text, takesAny: true), cast: name + (isArray ? "[]" : ""), rule: rule)
        let texts = ColumnCandidate(codec: ValueCodec(.text, isArray: true), cast: name + "[]")
        guard let type = known else { return isArray ? [texts, cast] : [cast] }
        var candidates: [ColumnCandidate] = []
        if type == .json || type == .jsonb {
            candidates.append(
                ColumnCandidate(
                    codec: ValueCodec(.text, isArray: isArray), cast: name + (isArray ? "[]" : ""),
                    rule: documentsAreTexts ? .none : .document))
        }
        // Hexadecimal digits are base64 as well, and rarely meant as such.
        if type == .bytea { candidates.append(ColumnCandidate(codec: ValueCodec(.bytea, isArray: isArray, format: .hex))) }
        candidates.append(ColumnCandidate(codec: ValueCodec(type, isArray: isArray)))
        // The candidate before is the same as ISO 8601. Days are the largest unit.
        let formats = ValueFormat.formats(of: type).filter { $0 != .iso && type != .bytea }
        for format in formats.filter({ $0 == .days }) + formats.filter({ $0 != .days }) {
            let scale = modifier?.output.2.flatMap { Int16($0) } ?? 0
            let isCount = format.microsecondDigits != nil || format == .days
            candidates.append(
                ColumnCandidate(
                    codec: ValueCodec(type, isArray: isArray, format: format, scale: scale), rule: isCount ? .size : .none))
        }
        if !isArray, [.text, .json, .jsonb].contains(type) {
            candidates.append(ColumnCandidate(codec: ValueCodec(type, nul: .strip)))
        }
        return candidates + [cast]
    }
}
