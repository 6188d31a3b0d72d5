// Compiles one mapping file: reads all keys, checks them against each other, and makes the decode plan.

import Platform
import Records
import Settings

/// Compiles one mapping file. Collects ``faults``; returns a mapping only if there are none.
struct MappingCompiler {
    private var reader = MappingReader()
    private let tree = SlotTree()

    private enum Envelopes: String, CaseIterable { case action }

    private static let knownKeys = [
        "topics", "envelope", "table", "mode", "write", "triggers", "key", "kafka_key", "action", "columns", "on_update",
        "delete", "skip_unchanged", "version",
    ]

    var faults: [MappingFault] { reader.faults }

    mutating func compile(_ root: YAMLNode) -> Mapping? {
        guard let entries = reader.entries(of: root, in: "the mapping", known: Self.knownKeys) else { return nil }
        for required in ["topics", "table", "key", "columns"] where entries[required] == nil {
            reader.fault(root, "the mapping needs '\(required)'")
        }
        if let version = entries["version"] { reader.fault(version, "version is not supported yet") }
        if let envelope = entries["envelope"] {
            _ = reader.choice(envelope, "envelope", of: Envelopes.self, planned: ["debezium", "upsert"])
        }
        if let mode = entries["mode"], reader.choice(mode, "mode", of: WriteMode.self) == .append {
            reader.fault(mode, "mode append is not supported yet")
        }
        let strategy = entries["write"].flatMap { reader.choice($0, "write", of: WriteChoice.Strategy.self) }
        let triggers = entries["triggers"].flatMap { reader.choice($0, "triggers", of: WriteChoice.Triggers.self) }
        let topics = entries["topics"].flatMap { topicNames($0) }
        let table = entries["table"].flatMap { tableName($0) }
        let keyNames = entries["key"].flatMap { reader.strings($0, "key") } ?? []
        var compiler = ColumnCompiler(keyNames: Set(keyNames.map(\.text)))
        let columns = entries["columns"].map { compiler.compile($0, reader: &reader, tree: tree) } ?? []
        let key = keyPositions(keyNames, declared: compiler.declared, columns: columns)
        let kafkaKey = kafkaKeyFormat(entries["kafka_key"], keyNames: keyNames)
        let action = actionEnvelope(entries["action"], root: root)
        let onUpdate = entries["on_update"].map { onUpdateColumns($0, columns: columns) } ?? []
        let deletion = entries["delete"].map { reader.deletion($0) } ?? []
        for (name, _) in deletion
        where columns.contains(where: { $0.shape.name == name }) || onUpdate.contains(where: { $0.column == name }) {
            reader.fault(entries["delete"] ?? root, "delete: '\(name)' is already one of the columns, or in on_update")
        }
        let skipsUnchanged = entries["skip_unchanged"].flatMap { reader.flag($0, "skip_unchanged") } ?? false

        guard reader.faults.isEmpty, let topics, let table, let action else { return nil }
        let layout = tree.layout()
        let plan = DecodePlan(
            objects: layout.objects, essentialObjects: layout.essentialObjects,
            columns: columns.enumerated().map { index, column in
                column.step(layout, keyPosition: key.firstIndex(of: index) ?? -1)
            },
            key: key,
            envelope: ActionEnvelope(slot: layout.slots[action.pointer] ?? 0, words: action.words),
            kafkaKey: kafkaKey, fixed: columns.enumerated().compactMap { index, column in column.fixed.map { (index, $0) } },
            headers: compiler.headers, pointers: layout.pointers, columnNames: columns.map(\.shape.name))
        let shape = TableShape(
            schema: table.schema, name: table.name, columns: columns.map(\.shape), key: key, mode: .upsert, onUpdate: onUpdate,
            write: WriteChoice(strategy ?? .auto, triggers: triggers ?? .unknown), deletion: deletion,
            skipsUnchanged: skipsUnchanged)
        if shape.hasPolicies, strategy == .coalesce, let write = entries["write"] {
            reader.fault(
                write, "write: coalesce cannot be together with on, if_null, merge, delete: {set: …} or skip_unchanged; remove it"
            )
            return nil
        }
        return Mapping(file: root.file, topics: topics, table: shape, kafkaKey: kafkaKey, plan: plan)
    }

    private mutating func topicNames(_ node: YAMLNode) -> [String]? {
        guard let names = reader.strings(node, "topics") else { return nil }
        var seen: Set<String> = []
        for (name, node) in names {
            if TopicPattern.isPattern(name) {
                do throws(TopicPattern.Fault) {
                    _ = try TopicPattern(name)
                } catch {
                    reader.fault(node, "'\(name)' is no regular expression for topics (POSIX extended): \(error)")
                }
                continue
            }
            let isLegal = name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
            if !isLegal || name.isEmpty || name.utf8.count > 249 || name == "." || name == ".." {
                reader.fault(
                    node,
                    "'\(name)' is not a topic name: up to 249 letters, digits, '.', '_' and '-'; an expression begins with '^'")
            }
            if !seen.insert(name).inserted { reader.fault(node, "topic '\(name)' is given twice") }
        }
        return names.map(\.text)
    }

    private mutating func tableName(_ node: YAMLNode) -> (schema: String?, name: String)? {
        guard let text = reader.string(node, "table") else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, parts.allSatisfy(ColumnCompiler.isIdentifier) else {
            reader.fault(node, "table must be a name or schema.name, each of 1 to 63 bytes")
            return nil
        }
        return (parts.count == 2 ? parts[0] : nil, parts[parts.count - 1])
    }

    private mutating func keyPositions(
        _ names: [(text: String, node: YAMLNode)], declared: [String], columns: [Column]
    ) -> [Int] {
        var seen: Set<String> = []
        for (name, node) in names {
            if !declared.contains(name) {
                let hint = MappingReader.suggestion(for: name, among: declared)
                reader.fault(node, "key '\(name)' is not one of the columns" + hint)
            }
            if !seen.insert(name).inserted { reader.fault(node, "key '\(name)' is given twice") }
        }
        return names.compactMap { name in columns.firstIndex { $0.shape.name == name.text } }
    }

    private mutating func kafkaKeyFormat(
        _ node: YAMLNode?, keyNames: [(text: String, node: YAMLNode)]
    ) -> KafkaKeyFormat {
        guard let node else { return keyNames.count == 1 ? .text : .json }
        guard let format = reader.choice(node, "kafka_key", of: KafkaKeyFormat.self) else { return .text }
        if format == .text, keyNames.count > 1 {
            reader.fault(node, "kafka_key: text needs a key of one column; use kafka_key: json for \(keyNames.count) columns")
        }
        return format
    }

    private mutating func actionEnvelope(
        _ node: YAMLNode?, root: YAMLNode
    ) -> (pointer: JSONPointer, words: [(text: String, operation: Operation)])? {
        guard let node else {
            reader.fault(root, "envelope action needs 'action': the path of the field and the words of each operation")
            return nil
        }
        let operations = Operation.allCases.map { ("\($0)", $0) }
        let known = ["path"] + operations.map(\.0)
        guard let entries = reader.entries(of: node, in: "action", known: known) else { return nil }
        guard let path = entries["path"] else {
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
        return ColumnCompiler.pointer(path, reader: &reader, tree: tree, isEssential: true).map { ($0, words) }
    }

    private mutating func onUpdateColumns(_ node: YAMLNode, columns: [Column]) -> [(column: String, value: OnUpdateValue)] {
        guard let entries = reader.entries(of: node, in: "on_update") else { return [] }
        return entries.compactMap { entry in
            if columns.contains(where: { $0.shape.name == entry.key }) {
                reader.fault(entry.value, "on_update: '\(entry.key)' is already one of the columns")
            } else if !ColumnCompiler.isIdentifier(entry.key) {
                reader.fault(entry.value, "on_update: '\(entry.key)' is not a column name of 1 to 63 bytes")
            }
            return reader.choice(entry.value, "on_update \(entry.key)", of: OnUpdateValue.self).map { (entry.key, $0) }
        }
    }
}
