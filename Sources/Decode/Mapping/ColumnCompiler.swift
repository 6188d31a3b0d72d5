// Compiles the `columns` part of a mapping file.

import Records
import Settings

/// One compiled column, before slots are assigned.
struct Column {
    /// The source of its value.
    enum Source {
        case field(JSONPointer)
        case fixed(FixedValue)
        case offset
        case timestamp
        case key
        case header(Int)
        case event

        /// Values are read by a codec, which can hash them.
        var isHashable: Bool {
            switch self {
            case .field, .key, .header: true
            case .fixed, .offset, .timestamp, .event: false
            }
        }
    }

    let shape: ColumnShape
    let source: Source
    let codec: ValueCodec
    /// Its values have several forms, and the mapping names none.
    let takesFormat: Bool
    /// Keeps the codec's hasher valid.
    let hashKey: HashKey?

    /// The value that is the same in all records of a batch.
    var fixed: FixedValue? {
        if case .fixed(let value) = source { value } else { nil }
    }

    /// - Parameters:
    ///   - keyPosition: the column's position in the key; −1: not a key column.
    ///   - isVersion: it is the mapping's version.
    ///   - isOptional: a record may have no value for it.
    func step(_ layout: SlotTree.Layout, keyPosition: Int, isVersion: Bool, isOptional: Bool) -> ColumnStep {
        let stepSource: ColumnSource =
            switch source {
            case .field(let pointer): .field(layout.slots[pointer] ?? 0)
            case .fixed: .fixed
            case .offset: .offset
            case .timestamp: .timestamp
            case .key: .key
            case .header(let index): .header(index)
            case .event: .event
            }
        return ColumnStep(
            source: stepSource, codec: codec, isOptional: isOptional, isNullable: shape.isNullable,
            keyPosition: keyPosition, isInDeletes: keyPosition >= 0 || isVersion)
    }
}

/// Compiles columns one by one.
struct ColumnCompiler {
    let keyNames: Set<String>
    /// The column that is the version. A Delete needs its value as well.
    let version: String?
    /// Names of all columns, including those with faults.
    private(set) var declared: [String] = []
    /// Names of the headers that columns read.
    private(set) var headers: [String] = []

    init(keyNames: Set<String>, version: String?) {
        self.keyNames = keyNames
        self.version = version
    }

    /// The keys of which a column has one.
    static let sources = ["path", "event_path", "metadata", "constant"]
    private static let metadataNames = ["topic", "partition", "offset", "timestamp", "key", "headers.NAME"]

    mutating func compile(_ node: YAMLNode, reader: inout MappingReader, tree: SlotTree) -> [Column] {
        guard let entries = reader.entries(of: node, in: "columns") else { return [] }
        if entries.isEmpty { reader.fault(node, "columns must not be empty") }
        declared = entries.map(\.key)
        return entries.compactMap { column($0, reader: &reader, tree: tree) }
    }

    private mutating func column(
        _ entry: YAMLEntry, reader: inout MappingReader, tree: SlotTree
    ) -> Column? {
        let node = entry.value
        let subject = "column \(entry.key)"
        if !Self.isIdentifier(entry.key) { reader.fault(node, "'\(entry.key)' is not a column name of 1 to 63 bytes") }
        let example = "{path: \(JSONPointer(tokens: [entry.key]).text), type: text}"
        guard let keys = reader.entries(of: node, in: subject, known: MappingKeys.column.names, example: example) else {
            return nil
        }
        let isKey = keyNames.contains(entry.key)
        let isOptional = keys["optional"].flatMap { reader.flag($0, "\(subject): optional") } ?? false
        let isNullable = keys["nullable"].flatMap { reader.flag($0, "\(subject): nullable") } ?? false
        if isKey, isOptional || isNullable { reader.fault(node, "\(subject) is in the key and cannot be optional or nullable") }
        let policy = reader.columnPolicy(keys, subject, isKey: isKey, isNullable: isNullable)
        let sources = Self.sources.filter { keys[$0] != nil }
        guard sources.count == 1 else {
            reader.fault(node, "\(subject) needs exactly one of path, event_path, metadata and constant")
            return nil
        }
        if isKey, sources != ["path"] {
            reader.fault(node, "\(subject) is in the key and must have a path")
            return nil
        }
        if sources == ["constant"], isOptional || isNullable {
            reader.fault(node, "\(subject) is a constant and cannot be optional or nullable")
        }
        var metadata: (source: Column.Source, types: [ColumnType])?
        if let name = keys["metadata"] {
            metadata = self.metadata(name, subject, reader: &reader)
            if metadata == nil { return nil }
        }
        let compiled = ColumnValues.compile(node, keys, subject, assumed: metadata?.types[0], reader: &reader)
        guard let values = compiled else {
            // Whether a column may hold the whole event depends on its type.
            if let path = keys["path"] ?? keys["event_path"], path.scalar?.text != "" {
                _ = Self.pointer(path, reader: &reader, in: keys["path"] != nil ? tree : nil)
            }
            return nil
        }
        if isKey, let reason = Self.reasonAgainstKey(values) {
            reader.fault(node, "\(subject) cannot be in the key: \(reason)")
            return nil
        }
        let codec = values.codec
        let source: Column.Source?
        if let metadata {
            source = Self.check(metadata, codec, keys, node, subject, reader: &reader)
        } else if let constant = keys["constant"] {
            source = Self.constant(constant, subject, codec, reader: &reader)
        } else if let path = tree.row.isEmpty ? keys["path"] ?? keys["event_path"] : keys["event_path"], path.scalar?.text == "",
            codec.takesAny || codec.isDocument
        {
            source = .event
        } else if let path = keys["path"] ?? keys["event_path"] {
            source = Self.pointer(
                path, reader: &reader, tree: tree, isEssential: isKey || entry.key == version, isInRow: keys["path"] != nil
            )
            .map { .field($0) }
        } else {
            source = nil
        }
        guard let source else { return nil }
        if codec.hasher != nil, !source.isHashable {
            reader.fault(node, "\(subject): hash is for a field, the record's key and headers")
            return nil
        }
        let shape = ColumnShape(
            name: entry.key, type: codec.hasher == nil ? codec.type : .text, isArray: codec.isArray, cast: values.cast,
            isOptional: isOptional,
            isNullable: isNullable, policy: policy)
        return Column(shape: shape, source: source, codec: codec, takesFormat: values.takesFormat, hashKey: values.hashKey)
    }

    /// Why rows cannot be told apart by a column's values; `nil`: they can.
    private static func reasonAgainstKey(_ values: ColumnValues) -> String? {
        if values.cast != nil { return "values that the server casts may be equal there and differ here" }
        if values.codec.isArray { return "it is an array" }
        return values.codec.type.isKey ? nil : "values of type \(values.codec.typeName) that are equal may have different bytes"
    }

    /// The source of a metadata column, and the types that it may have; empty after the first: any but arrays.
    private mutating func metadata(
        _ node: YAMLNode, _ subject: String, reader: inout MappingReader
    ) -> (source: Column.Source, types: [ColumnType])? {
        guard let name = reader.string(node, "\(subject): metadata") else { return nil }
        switch name {
        case "topic": return (.fixed(.topic), [.text])
        case "partition": return (.fixed(.partition), [.int4, .int8])
        case "offset": return (.offset, [.int8])
        case "timestamp": return (.timestamp, [.timestamptz, .timestamp])
        case "key": return (.key, [.text] + ColumnType.allCases)
        case _ where name.hasPrefix("headers.") && name.utf8.count > "headers.".utf8.count:
            headers.append(String(name.dropFirst("headers.".count)))
            return (.header(headers.count - 1), [.text] + ColumnType.allCases)
        default:
            let hint = MappingReader.suggestion(for: name, among: Self.metadataNames)
            reader.fault(
                node, "\(subject): metadata '\(name)' is not one of \(Self.metadataNames.joined(separator: ", "))" + hint)
            return nil
        }
    }

    private static func check(
        _ metadata: (source: Column.Source, types: [ColumnType]), _ codec: ValueCodec, _ keys: [String: YAMLNode],
        _ node: YAMLNode, _ subject: String, reader: inout MappingReader
    ) -> Column.Source? {
        let name = keys["metadata"]?.scalar?.text ?? ""
        let isText = metadata.types.count > 2
        if codec.isArray {
            reader.fault(node, "\(subject): an array must have a path")
        } else if !metadata.types.contains(codec.type) {
            let words = metadata.types.map(\.rawValue).joined(separator: " or ")
            reader.fault(keys["type"] ?? node, "\(subject): metadata \(name) has the type \(words)")
        } else if !isText, let format = keys["format"] {
            reader.fault(format, "\(subject): metadata \(name) has no format")
        } else {
            return metadata.source
        }
        return nil
    }

    private static func constant(
        _ node: YAMLNode, _ subject: String, _ codec: ValueCodec, reader: inout MappingReader
    ) -> Column.Source? {
        if codec.isArray {
            reader.fault(node, "\(subject): an array must have a path")
            return nil
        }
        guard let text = reader.string(node, "\(subject): constant") else { return nil }
        var utf8 = text
        var rows = ChangeRows(columnCount: 1)
        let cell = utf8.withUTF8 { try? ValueWriter.cell(text: UnsafeRawBufferPointer($0), codec, into: &rows) }
        guard let cell, let bytes = rows.values.bytes(of: cell) else {
            reader.fault(node, "\(subject): the constant is not of type \(codec.typeName)")
            return nil
        }
        return .fixed(.constant(Array(bytes)))
    }

    /// Reads a JSON Pointer to a field and inserts it into the tree.
    /// - Parameter isInRow: it begins at the row, and not at the event.
    static func pointer(
        _ node: YAMLNode, reader: inout MappingReader, tree: SlotTree, isEssential: Bool, isInRow: Bool = true
    ) -> JSONPointer? {
        guard let pointer = pointer(node, reader: &reader, in: isInRow ? tree : nil) else { return nil }
        if let other = tree.insert(pointer, isEssential: isEssential) {
            reader.fault(node, "path '\(pointer.text)' and '\(other.text)' cannot both be read: one is inside the other")
            return nil
        }
        return pointer
    }

    /// Reads a JSON Pointer to a field.
    /// - Parameter tree: it begins at the row of this tree; `nil`: at the event.
    static func pointer(_ node: YAMLNode, reader: inout MappingReader, in tree: SlotTree?) -> JSONPointer? {
        guard let text = reader.string(node, "path") else { return nil }
        guard let pointer = JSONPointer(text) else {
            reader.fault(
                node,
                "path '\(text)' is not a JSON Pointer: write '/' before each name, and in names '~1' for '/' and '~0' for '~'"
                    + (JSONPointer.meant(by: text).map { MappingReader.suggestion($0) } ?? ""))
            return nil
        }
        if pointer.tokens.isEmpty {
            reader.fault(
                node,
                tree?.row.isEmpty == false
                    ? "path '' is the whole row; a column of type json or jsonb can hold the whole event: event_path: ''"
                    : "path '' is the whole event; only a column of type json or jsonb can hold it")
            return nil
        }
        return tree?.inRow(pointer) ?? pointer
    }

    /// Whether PostgreSQL accepts a name without truncating it: 1 to 63 bytes (NAMEDATALEN), no NUL.
    static func isIdentifier(_ name: String) -> Bool {
        (1...63).contains(name.utf8.count) && !name.utf8.contains(0)
    }
}
