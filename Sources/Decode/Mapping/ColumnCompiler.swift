// Compiles the `columns` part of a mapping file.

import Records
import Settings

/// One compiled column, before the slots are numbered.
struct Column {
    /// Where its value comes from.
    enum Source {
        case field(JSONPointer)
        case fixed(FixedValue)
        case offset
        case timestamp
        case key
        case header(Int)
    }

    let shape: ColumnShape
    let source: Source

    /// What the column holds in all records of a batch, if it does.
    var fixed: FixedValue? {
        if case .fixed(let value) = source { value } else { nil }
    }

    /// - Parameter keyPosition: the column's position in the key; −1: not of the key.
    func step(_ layout: SlotTree.Layout, keyPosition: Int) -> ColumnStep {
        let planned: ColumnSource =
            switch source {
            case .field(let pointer): .field(layout.slots[pointer] ?? 0)
            case .fixed: .fixed
            case .offset: .offset
            case .timestamp: .timestamp
            case .key: .key
            case .header(let index): .header(index)
            }
        return ColumnStep(
            source: planned, type: shape.type, isOptional: shape.isOptional, isNullable: shape.isNullable,
            keyPosition: keyPosition)
    }
}

/// Compiles columns one by one.
struct ColumnCompiler {
    let keyNames: Set<String>
    /// Names of all columns, also of those that something is wrong with.
    private(set) var declared: [String] = []
    /// Names of the headers that columns read.
    private(set) var headers: [String] = []

    init(keyNames: Set<String>) { self.keyNames = keyNames }

    private static let knownKeys = ["path", "metadata", "constant", "type", "optional", "nullable"]
    private static let plannedTypes = ["bool", "float8", "numeric", "uuid", "jsonb", "bytea"]
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
        let place = "column \(entry.key)"
        if !Self.isIdentifier(entry.key) { reader.fault(node, "'\(entry.key)' is no column name of 1 to 63 bytes") }
        guard let keys = reader.entries(of: node, in: place, known: Self.knownKeys) else { return nil }
        let isKey = keyNames.contains(entry.key)
        let isOptional = keys["optional"].flatMap { reader.flag($0, "\(place): optional") } ?? false
        let isNullable = keys["nullable"].flatMap { reader.flag($0, "\(place): nullable") } ?? false
        if isKey, isOptional || isNullable { reader.fault(node, "\(place) is of the key and cannot be optional or nullable") }
        let type = keys["type"].map { reader.choice($0, "\(place): type", of: ColumnType.self, planned: Self.plannedTypes) }
        if case .some(nil) = type { return nil }
        let given = type ?? nil

        let sources = ["path", "metadata", "constant"].filter { keys[$0] != nil }
        guard sources.count == 1 else {
            reader.fault(node, "\(place) needs exactly one of path, metadata and constant")
            return nil
        }
        if isKey, sources != ["path"] {
            reader.fault(node, "\(place) is of the key and must be read from the event by a path")
            return nil
        }
        if isKey, given == .timestamptz {
            reader.fault(node, "\(place): a key of type timestamptz is not supported yet")
            return nil
        }
        if sources == ["constant"], isOptional || isNullable {
            reader.fault(node, "\(place) is a constant and cannot be optional or nullable")
        }
        let found: (Column.Source, ColumnType)?
        if let metadata = keys["metadata"] {
            found = self.metadata(metadata, place, type: given, reader: &reader)
        } else if let given {
            if let constant = keys["constant"] {
                found = Self.constant(constant, place, type: given, reader: &reader).map { ($0, given) }
            } else if let path = keys["path"] {
                let pointer = Self.pointer(path, reader: &reader, tree: tree, isEssential: isKey)
                found = pointer.map { (.field($0), given) }
            } else {
                found = nil
            }
        } else {
            reader.fault(node, "\(place) needs a type: \(ColumnType.allCases.map(\.rawValue).joined(separator: ", "))")
            found = nil
        }
        guard let (source, columnType) = found else { return nil }
        let shape = ColumnShape(name: entry.key, type: columnType, isOptional: isOptional, isNullable: isNullable)
        return Column(shape: shape, source: source)
    }

    private mutating func metadata(
        _ node: YAMLNode, _ place: String, type: ColumnType?, reader: inout MappingReader
    ) -> (Column.Source, ColumnType)? {
        guard let name = reader.string(node, "\(place): metadata") else { return nil }
        let source: Column.Source
        let types: [ColumnType]
        switch name {
        case "topic": (source, types) = (.fixed(.topic), [.text])
        case "partition": (source, types) = (.fixed(.partition), [.int4, .int8])
        case "offset": (source, types) = (.offset, [.int8])
        case "timestamp": (source, types) = (.timestamp, [.timestamptz])
        case "key": (source, types) = (.key, [.text])
        case _ where name.hasPrefix("headers.") && name.utf8.count > "headers.".utf8.count:
            (source, types) = (.header(headers.count), [.text])
            headers.append(String(name.dropFirst("headers.".count)))
        default:
            let near = MappingReader.suggestion(for: name, among: Self.metadataNames)
            reader.fault(node, "\(place): metadata '\(name)' is none of \(Self.metadataNames.joined(separator: ", "))" + near)
            return nil
        }
        guard types.contains(type ?? types[0]) else {
            let words = types.map(\.rawValue).joined(separator: " or ")
            reader.fault(node, "\(place): metadata \(name) has the type \(words)")
            return nil
        }
        return (source, type ?? types[0])
    }

    private static func constant(
        _ node: YAMLNode, _ place: String, type: ColumnType, reader: inout MappingReader
    ) -> Column.Source? {
        guard let text = reader.string(node, "\(place): constant") else { return nil }
        var utf8 = text
        var rows = ChangeRows(columnCount: 1)
        let cell = utf8.withUTF8 { try? ValueWriter.cell(text: UnsafeRawBufferPointer($0), type: type, into: &rows) }
        guard let cell, let bytes = rows.values.bytes(of: cell) else {
            reader.fault(node, "\(place): the constant is no \(type.rawValue)")
            return nil
        }
        return .fixed(.constant(Array(bytes)))
    }

    /// A JSON Pointer that names a field, entered into the tree.
    static func pointer(
        _ node: YAMLNode, reader: inout MappingReader, tree: SlotTree, isEssential: Bool
    ) -> JSONPointer? {
        guard let text = reader.string(node, "path") else { return nil }
        guard let pointer = JSONPointer(text) else {
            reader.fault(node, "path '\(text)' is no JSON Pointer: '/' before each name, '~1' for '/' and '~0' for '~' in names")
            return nil
        }
        if pointer.tokens.isEmpty {
            reader.fault(node, "path '' is the whole event, which no column type holds yet")
            return nil
        }
        if let other = tree.insert(pointer, isEssential: isEssential) {
            reader.fault(node, "path '\(text)' and '\(other.text)' cannot both be values: one lies inside the other")
            return nil
        }
        return pointer
    }

    /// Whether PostgreSQL takes a name as it is: 1 to 63 bytes (NAMEDATALEN), no NUL.
    static func isIdentifier(_ name: String) -> Bool {
        (1...63).contains(name.utf8.count) && !name.utf8.contains(0)
    }
}
