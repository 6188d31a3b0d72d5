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
    }

    let shape: ColumnShape
    let source: Source

    /// The value that is the same in all records of a batch.
    var fixed: FixedValue? {
        if case .fixed(let value) = source { value } else { nil }
    }

    /// - Parameters:
    ///   - keyPosition: the column's position in the key; −1: not a key column.
    ///   - isOptional: a record may have no value for it.
    func step(_ layout: SlotTree.Layout, keyPosition: Int, isOptional: Bool) -> ColumnStep {
        let stepSource: ColumnSource =
            switch source {
            case .field(let pointer): .field(layout.slots[pointer] ?? 0)
            case .fixed: .fixed
            case .offset: .offset
            case .timestamp: .timestamp
            case .key: .key
            case .header(let index): .header(index)
            }
        return ColumnStep(
            source: stepSource, type: shape.type, isOptional: isOptional, isNullable: shape.isNullable,
            keyPosition: keyPosition)
    }
}

/// Compiles columns one by one.
struct ColumnCompiler {
    let keyNames: Set<String>
    /// Names of all columns, including those with faults.
    private(set) var declared: [String] = []
    /// Names of the headers that columns read.
    private(set) var headers: [String] = []

    init(keyNames: Set<String>) { self.keyNames = keyNames }

    private static let knownKeys =
        ["path", "event_path", "metadata", "constant", "type", "optional", "nullable"] + MappingReader.policyKeys
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
        let subject = "column \(entry.key)"
        if !Self.isIdentifier(entry.key) { reader.fault(node, "'\(entry.key)' is not a column name of 1 to 63 bytes") }
        guard let keys = reader.entries(of: node, in: subject, known: Self.knownKeys) else { return nil }
        let isKey = keyNames.contains(entry.key)
        let isOptional = keys["optional"].flatMap { reader.flag($0, "\(subject): optional") } ?? false
        let isNullable = keys["nullable"].flatMap { reader.flag($0, "\(subject): nullable") } ?? false
        if isKey, isOptional || isNullable { reader.fault(node, "\(subject) is in the key and cannot be optional or nullable") }
        let policy = reader.columnPolicy(keys, subject, isKey: isKey, isNullable: isNullable)
        let type = keys["type"].map { reader.choice($0, "\(subject): type", of: ColumnType.self, planned: Self.plannedTypes) }
        if case .some(nil) = type { return nil }
        let declaredType = type ?? nil

        let sources = ["path", "event_path", "metadata", "constant"].filter { keys[$0] != nil }
        guard sources.count == 1 else {
            reader.fault(node, "\(subject) needs exactly one of path, event_path, metadata and constant")
            return nil
        }
        if isKey, sources != ["path"] {
            reader.fault(node, "\(subject) is in the key and must have a path")
            return nil
        }
        if isKey, declaredType == .timestamptz {
            reader.fault(node, "\(subject): a key of type timestamptz is not supported yet")
            return nil
        }
        if sources == ["constant"], isOptional || isNullable {
            reader.fault(node, "\(subject) is a constant and cannot be optional or nullable")
        }
        let result: (Column.Source, ColumnType)?
        if let metadata = keys["metadata"] {
            result = self.metadata(metadata, subject, type: declaredType, reader: &reader)
        } else if let declaredType {
            if let constant = keys["constant"] {
                result = Self.constant(constant, subject, type: declaredType, reader: &reader).map { ($0, declaredType) }
            } else if let path = keys["path"] ?? keys["event_path"] {
                let pointer = Self.pointer(
                    path, reader: &reader, tree: tree, isEssential: isKey, isInRow: keys["path"] != nil)
                result = pointer.map { (.field($0), declaredType) }
            } else {
                result = nil
            }
        } else {
            reader.fault(node, "\(subject) needs a type: \(ColumnType.allCases.map(\.rawValue).joined(separator: ", "))")
            result = nil
        }
        guard let (source, columnType) = result else { return nil }
        let shape = ColumnShape(
            name: entry.key, type: columnType, isOptional: isOptional, isNullable: isNullable, policy: policy)
        return Column(shape: shape, source: source)
    }

    private mutating func metadata(
        _ node: YAMLNode, _ subject: String, type: ColumnType?, reader: inout MappingReader
    ) -> (Column.Source, ColumnType)? {
        guard let name = reader.string(node, "\(subject): metadata") else { return nil }
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
            let hint = MappingReader.suggestion(for: name, among: Self.metadataNames)
            reader.fault(
                node, "\(subject): metadata '\(name)' is not one of \(Self.metadataNames.joined(separator: ", "))" + hint)
            return nil
        }
        guard types.contains(type ?? types[0]) else {
            let words = types.map(\.rawValue).joined(separator: " or ")
            reader.fault(node, "\(subject): metadata \(name) has the type \(words)")
            return nil
        }
        return (source, type ?? types[0])
    }

    private static func constant(
        _ node: YAMLNode, _ subject: String, type: ColumnType, reader: inout MappingReader
    ) -> Column.Source? {
        guard let text = reader.string(node, "\(subject): constant") else { return nil }
        var utf8 = text
        var rows = ChangeRows(columnCount: 1)
        let cell = utf8.withUTF8 { try? ValueWriter.cell(text: UnsafeRawBufferPointer($0), type: type, into: &rows) }
        guard let cell, let bytes = rows.values.bytes(of: cell) else {
            reader.fault(node, "\(subject): the constant is not of type \(type.rawValue)")
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
                "path '\(text)' is not a JSON Pointer: write '/' before each name, and in names '~1' for '/' and '~0' for '~'")
            return nil
        }
        if pointer.tokens.isEmpty {
            reader.fault(node, "path '' is the whole event; no column type supports that yet")
            return nil
        }
        return tree?.inRow(pointer) ?? pointer
    }

    /// Whether PostgreSQL accepts a name without truncating it: 1 to 63 bytes (NAMEDATALEN), no NUL.
    static func isIdentifier(_ name: String) -> Bool {
        (1...63).contains(name.utf8.count) && !name.utf8.contains(0)
    }
}
