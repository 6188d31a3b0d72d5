// Owns what columns refuse of the values that their mappings' types have: lengths, precisions and ranges, known from the catalog.

import Postgres
import Records

/// What a column takes of the values of its mapping's type. What it does not take, the server would refuse with SQLSTATE 22001 or 22003,
/// and so with it the transaction; besides, values that are checked before can be coalesced.
enum ColumnLimit: Equatable, BitwiseCopyable {
    /// `character varying(n)`, `character(n)`. A longer value is cut where that loses spaces only; not in a key, which would name another
    /// row than before.
    case characters(Int, isKey: Bool)
    /// `numeric(precision, scale)`: the value is rounded to `scale` digits first.
    case digits(precision: Int, scale: Int)
    /// An integer of fewer bytes.
    case bytes(Int)
    /// `real`, of a double.
    case single

    /// Whether the column takes a value in the binary form of the mapping's type.
    func takes(_ value: UnsafeRawBufferPointer) -> Bool {
        switch self {
        case .characters(let most, let isKey): value.count <= most || Self.fits(value, most, cutsSpaces: !isKey)
        case .digits(let precision, let scale): Self.fits(numeric: value, precision: precision, scale: scale)
        case .bytes(2): Int16(exactly: Self.integer(value)) != nil
        case .bytes: Int32(exactly: Self.integer(value)) != nil
        case .single: Self.fits(double: Double(bitPattern: UInt64(bigEndian: value.loadUnaligned(as: UInt64.self))))
        }
    }

    /// Why a value is refused, without the value.
    func sentence(_ column: String, _ value: UnsafeRawBufferPointer) -> String {
        switch self {
        case .characters(let most, _):
            "column \(column) takes \(most) characters, and the value has \(Self.characters(value))"
        case .digits where Self.isInfinite(value): "column \(column) has a precision, and takes no infinite value"
        case .digits(let precision, let scale):
            "column \(column) is numeric(\(precision),\(scale)), and the value does not round to an absolute value below "
                + "10^\(precision - scale)"
        case .bytes(let bytes): "column \(column) is an int\(bytes), and the value is beyond its range"
        case .single: "column \(column) is a float4, and the value is beyond its range"
        }
    }

    /// The error by which the server would refuse a value.
    var state: SQLState {
        switch self {
        case .characters: SQLState("22001")
        case .digits, .bytes, .single: SQLState("22003")
        }
    }

    /// Whether the column is known to take a default, as the catalog has it: a constant, such as `'new'::character varying` or `0`.
    func takes(default expression: String) -> Bool {
        var text = expression[...]
        if text.first == "'" {
            guard let end = text.dropFirst().firstIndex(of: "'"), text[end...].dropFirst().hasPrefix("::") else { return false }
            text = text[text.index(after: text.startIndex)..<end]
            if case .characters(let most, _) = self { return text.unicodeScalars.count <= most }
        }
        switch self {
        case .characters, .single: return false
        case .bytes(2): return Int16(text) != nil
        case .bytes: return Int32(text) != nil
        case .digits(let precision, let scale):
            let parts = text.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
            return parts.count <= 2 && parts.allSatisfy { $0.allSatisfy(\.isNumber) } && parts[0].count <= precision - scale
                && (parts.count == 1 || parts[1].count <= scale)
        }
    }

    // MARK: Texts

    /// UTF-8 has one byte for each character that does not begin with the bits 10.
    private static func isCharacter(_ byte: UInt8) -> Bool { byte & 0xC0 != 0x80 }

    private static func characters(_ text: UnsafeRawBufferPointer) -> Int { text.count { isCharacter($0) } }

    private static func fits(_ text: UnsafeRawBufferPointer, _ most: Int, cutsSpaces: Bool) -> Bool {
        var count = 0
        for byte in text where isCharacter(byte) {
            count += 1
            if count > most, !cutsSpaces || byte != UInt8(ascii: " ") { return false }
        }
        return true
    }

    // MARK: Numbers

    private static func integer(_ value: UnsafeRawBufferPointer) -> Int64 {
        value.count == 8
            ? Int64(bigEndian: value.loadUnaligned(as: Int64.self)) : Int64(Int32(bigEndian: value.loadUnaligned(as: Int32.self)))
    }

    /// As `dtof` of src/backend/utils/adt/float.c: neither overflow nor underflow.
    private static func fits(double value: Double) -> Bool {
        let single = Float(value)
        return !(single.isInfinite && value.isFinite) && (single != 0 || value == 0)
    }

    private static func word(_ numeric: UnsafeRawBufferPointer, _ index: Int) -> Int {
        Int(Int16(bigEndian: numeric.loadUnaligned(fromByteOffset: index * 2, as: Int16.self)))
    }

    private static func isInfinite(_ numeric: UnsafeRawBufferPointer) -> Bool {
        let sign = word(numeric, 2) & 0xFFFF
        return sign == 0xD000 || sign == 0xF000
    }

    /// As `apply_typmod` of src/backend/utils/adt/numeric.c: less than 10^(precision − scale), once it was rounded to `scale` digits. The
    /// value has a word each for the count of its digits to the base 10000, the exponent of the first of them, sign and scale; then these
    /// digits.
    private static func fits(numeric: UnsafeRawBufferPointer, precision: Int, scale: Int) -> Bool {
        if isInfinite(numeric) { return false }
        let (count, weight) = (word(numeric, 0), word(numeric, 1))
        // The decimal digit before 10^exponent.
        func digit(_ exponent: Int) -> Int {
            let index = weight - (exponent >> 2)
            guard index >= 0, index < count else { return 0 }
            let unit =
                switch exponent & 3 {
                case 0: 1
                case 1: 10
                case 2: 100
                default: 1000
                }
            return word(numeric, 4 + index) / unit % 10
        }
        var first = weight * 4 + 3
        let end = (weight - count) * 4 + 3
        while first > end, digit(first) == 0 { first -= 1 }
        // Zero, or NaN, which every numeric takes.
        if first == end { return true }
        let most = precision - scale
        guard first == most - 1 else { return first < most }
        // It may be rounded up to 10^most.
        var exponent = first
        while exponent >= -scale {
            if digit(exponent) != 9 { return true }
            exponent -= 1
        }
        return digit(-scale - 1) < 5
    }
}

extension TableSchema.Column {
    /// What the column takes of a mapped column's values; `nil`: all of them, or only the server knows.
    func limit(of mapped: ColumnShape, isKey: Bool) -> ColumnLimit? {
        guard mapped.cast == nil, !mapped.isArray else { return nil }
        switch mapped.type {
        case .text where [Self.varchar, Self.char].contains(baseType) && typeModifier >= 4:
            return .characters(Int(typeModifier) - 4, isKey: isKey)
        case .numeric where baseType == mapped.type.oid && typeModifier >= 4:
            // As `numeric_typmod_scale`: 11 bits with a sign since PostgreSQL 15.
            let modifier = Int(typeModifier) - 4
            return .digits(precision: modifier >> 16, scale: ((modifier & 0x7FF) ^ 1024) - 1024)
        case .int4 where baseType == TypeOID.int2, .int8 where baseType == TypeOID.int2: return .bytes(2)
        case .int8 where baseType == TypeOID.int4: return .bytes(4)
        case .float8 where baseType == ColumnType.float4.oid: return .single
        default: return nil
        }
    }
}

/// The columns of a table that have a limit.
struct TableLimits {
    private struct Limited: BitwiseCopyable {
        let column: Int
        let limit: ColumnLimit
    }

    private let limited: [Limited]
    private let shape: TableShape

    /// A column that not every event writes has none: the server decides about the events that do, which are never coalesced. Nor have
    /// texts where the server counts other characters.
    init(_ shape: TableShape, _ schema: TableSchema) {
        self.shape = shape
        limited = shape.columns.enumerated().compactMap { column, mapped in
            guard mapped.policy.occasion == .always else { return nil }
            let isKey = shape.mode != .append && shape.key.contains(column)
            guard let limit = schema.columns[mapped.name]?.limit(of: mapped, isKey: isKey) else { return nil }
            if case .characters = limit, !schema.isUnicode { return nil }
            return Limited(column: column, limit: limit)
        }
    }

    var isEmpty: Bool { limited.isEmpty }

    /// Why the table does not take a change's values, and the server's error; `nil`: it does. A Delete writes none.
    func fault(_ batch: ChangeBatch, _ change: Int) -> (sentence: String, state: SQLState)? {
        for limited in limited {
            guard let value = batch.value(batch.cell(change: change, column: limited.column)) else { continue }
            if !limited.limit.takes(value) {
                return (limited.limit.sentence(shape.columns[limited.column].name, value), limited.limit.state)
            }
        }
        return nil
    }
}
