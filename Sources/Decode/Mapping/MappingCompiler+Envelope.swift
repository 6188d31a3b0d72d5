// Compiles what a mapping file says of its events' envelope: `envelope` and `action`.

import Records
import Settings

/// The envelope of a mapping file, before slots are assigned.
struct EnvelopeDeclaration {
    let kind: EnvelopeKind
    /// The field that names the operation, and its words.
    var operation: JSONPointer?
    var words: [(text: String, operation: Operation)] = []

    private static let before = JSONPointer(tokens: ["before"])
    private static let payload = JSONPointer(tokens: ["payload"])
    private static let version = JSONPointer(tokens: ["specversion"])
    private static let base64 = JSONPointer(tokens: ["data_base64"])
    static let op = JSONPointer(tokens: ["op"])

    /// The fields of the envelope's own, in the order in which events have them.
    private var fields: [JSONPointer] {
        switch kind {
        case .action, .upsert: []
        case .debezium: [Self.before, JSONPointer(tokens: kind.row), Self.op, Self.payload]
        case .cloudevents: [Self.version, Self.base64, JSONPointer(tokens: kind.row)]
        }
    }

    func insert(into tree: SlotTree) {
        for field in fields { tree.insertForCondition(field) }
    }

    func compile(_ layout: SlotTree.Layout, placeholders: [PlaceholderStep]) -> Envelope {
        func slot(_ pointer: JSONPointer?) -> Int { pointer.flatMap { layout.slots[$0] } ?? -1 }
        var slots = Envelope.Slots()
        slots.operation = slot(operation)
        switch kind {
        case .action, .upsert: break
        case .debezium:
            (slots.row, slots.before, slots.payload) = (
                slot(JSONPointer(tokens: kind.row)), slot(Self.before), slot(Self.payload)
            )
        case .cloudevents:
            (slots.row, slots.version, slots.base64) = (
                slot(JSONPointer(tokens: kind.row)), slot(Self.version), slot(Self.base64)
            )
        }
        return Envelope(kind, slots: slots, words: words, placeholders: placeholders)
    }
}

extension MappingCompiler {
    mutating func envelopeKind(_ node: YAMLNode?) -> EnvelopeKind {
        node.flatMap { reader.choice($0, "envelope", of: EnvelopeKind.self) } ?? .action
    }

    /// The envelope with its action, whose fields are inserted into the tree.
    mutating func envelope(
        _ kind: EnvelopeKind, named node: YAMLNode?, action: YAMLNode?, root: YAMLNode
    ) -> EnvelopeDeclaration? {
        var envelope = EnvelopeDeclaration(kind: kind)
        switch (kind, action) {
        case (.action, nil):
            // The name of another envelope, mistyped, has been reported.
            if let node, node.scalar?.text != EnvelopeKind.action.rawValue { return nil }
            reader.fault(root, "envelope action needs 'action': the path of the field and the words of each operation")
            return nil
        case (.action, let action?), (.cloudevents, let action?):
            guard let (pointer, words) = self.action(action) else { return nil }
            // Conditions ask whether an event that lacks their fields is a Delete.
            tree.insertForCondition(pointer)
            (envelope.operation, envelope.words) = (pointer, words)
        case (.upsert, let action?), (.debezium, let action?):
            let meaning = kind == .upsert ? "every event is an Upsert" : "op names the operation"
            reader.fault(action, "envelope \(kind.rawValue) has no 'action': \(meaning)")
            return nil
        case (.upsert, nil), (.cloudevents, nil): break
        case (.debezium, nil):
            (envelope.operation, envelope.words) = (EnvelopeDeclaration.op, Debezium.operations)
        }
        return envelope
    }

    private mutating func action(
        _ node: YAMLNode
    ) -> (pointer: JSONPointer, words: [(text: String, operation: Operation)])? {
        let operations = Operation.allCases.map { ("\($0)", $0) }
        guard let entries = reader.entries(of: node, in: "action", known: MappingKeys.action.names) else { return nil }
        if entries["path"] != nil, entries["event_path"] != nil {
            reader.fault(node, "action needs either 'path' or 'event_path'")
            return nil
        }
        guard let path = entries["path"] ?? entries["event_path"] else {
            reader.fault(node, "action needs 'path'")
            return nil
        }
        var words: [(text: String, operation: Operation)] = []
        for (name, operation) in operations {
            for (word, node) in entries[name].flatMap({ reader.strings($0, "action \(name)") }) ?? [] {
                if words.contains(where: { $0.text == word }) {
                    reader.fault(node, "the word '\(word)' is given twice")
                }
                words.append((word, operation))
            }
        }
        if words.isEmpty { reader.fault(node, "action needs words for at least one operation, such as 'create: [Create]'") }
        return ColumnCompiler.pointer(
            path, reader: &reader, tree: tree, isEssential: true, isInRow: entries["path"] != nil
        ).map { ($0, words) }
    }

    /// The fields of Debezium's rows that may hold the placeholder for a value that did not change, and the columns' shapes, which may lack
    /// their value then. A mapping that says `optional: false` knows that its source sends every value.
    func placeholders(
        _ columns: [Column], key: [Int], _ node: YAMLNode?, _ layout: SlotTree.Layout
    ) -> (steps: [PlaceholderStep], shapes: [ColumnShape]) {
        var shapes = columns.map(\.shape)
        var steps: [PlaceholderStep] = []
        for (index, column) in columns.enumerated() where !key.contains(index) {
            guard case .field(let pointer) = column.source, pointer.tokens.starts(with: EnvelopeKind.debezium.row),
                let slot = layout.slots[pointer],
                column.shape.isArray || column.shape.cast != nil || !Self.fixedLengths.contains(column.codec.type.rawValue),
                node?[column.shape.name]?["optional"]?.scalar?.text != "false"
            else { continue }
            if let known = steps.firstIndex(where: { $0.slot == slot }) {
                steps[known].isOptional = steps[known].isOptional && column.shape.isOptional
            } else {
                steps.append(PlaceholderStep(slot: slot, isOptional: column.shape.isOptional))
            }
            shapes[index].isOptional = true
        }
        return (steps, shapes)
    }

    /// The columns whose format an event's schema may name: fields of the row that are in no key, as a record's key has no such schema.
    func schemaColumns(_ columns: [Column], key: [Int]) -> [SchemaColumn] {
        columns.enumerated().compactMap { index, column in
            guard column.takesFormat, !key.contains(index), case .field(let pointer) = column.source, pointer.tokens.count == 2,
                pointer.tokens.starts(with: EnvelopeKind.debezium.row)
            else { return nil }
            return SchemaColumn(column: index, field: pointer.tokens[1])
        }
    }

    /// Types whose values PostgreSQL never stores outside of their row (TOAST), so that its log always has them.
    private static let fixedLengths = [
        "bool", "int2", "int4", "int8", "float4", "float8", "uuid", "date", "time", "timestamp", "timestamptz", "interval",
    ]
}
