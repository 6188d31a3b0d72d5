// Compiles one mapping file: reads all keys, checks them against each other, and makes the decode plan.

import Platform
import Records
import Settings

/// Compiles one mapping file. Collects ``faults``; returns a mapping only if there are none.
struct MappingCompiler {
    var reader = MappingReader()
    var tree = SlotTree()

    var faults: [MappingFault] { reader.faults }

    mutating func compile(_ root: YAMLNode) -> Mapping? {
        guard let entries = reader.entries(of: root, in: "the mapping", known: MappingKeys.file.names) else { return nil }
        let mode = entries["mode"].flatMap { reader.choice($0, "mode", of: WriteMode.self) } ?? .upsert
        for required in MappingKeys.file where entries[required.name] == nil {
            guard required.isRequired || (required.name == "key" && mode != .append) else { continue }
            reader.fault(root, "the mapping needs '\(required.name)'")
        }
        let declaredVersion = entries["version"].flatMap { reader.version($0) }
        let envelopeKind = envelopeKind(entries["envelope"])
        tree = SlotTree(row: envelopeKind.row)
        let strategy = entries["write"].flatMap { reader.choice($0, "write", of: WriteChoice.Strategy.self) }
        let triggers = entries["triggers"].flatMap { reader.choice($0, "triggers", of: WriteChoice.Triggers.self) }
        let topics = entries["topics"].flatMap { topicNames($0) }
        let table = entries["table"].flatMap { tableName($0) }
        let keyNames = entries["key"].flatMap { reader.strings($0, "key") } ?? []
        // Before the columns, so that the fields are looked up in the order in which events have them.
        EnvelopeDeclaration(kind: envelopeKind).insert(into: tree)
        var compiler = ColumnCompiler(keyNames: Set(keyNames.map(\.text)), version: declaredVersion?.column)
        let columns = entries["columns"].map { compiler.compile($0, reader: &reader, tree: tree) } ?? []
        let key = keyPositions(keyNames, declared: compiler.declared, columns: columns)
        let kafkaKey = kafkaKeyFormat(entries["kafka_key"], envelopeKind, keyNames: keyNames)
        if kafkaKey == .jsonObject { checkMembers(key.map { columns[$0] }, entries["kafka_key"] ?? entries["key"] ?? root) }
        let mismatch = kafkaKeyMismatch(entries["kafka_key_mismatch"], kafkaKey)
        let envelope = envelope(envelopeKind, named: entries["envelope"], action: entries["action"], root: root)
        let conditions = entries["where"].map { self.conditions($0) } ?? []
        let onUpdate = entries["on_update"].map { onUpdateColumns($0, columns: columns) } ?? []
        let deletion = entries["delete"].map { reader.deletion($0) } ?? []
        for (name, _) in deletion
        where columns.contains(where: { $0.shape.name == name }) || onUpdate.contains(where: { $0.column == name }) {
            reader.fault(entries["delete"] ?? root, "delete: '\(name)' is already one of the columns, or in on_update")
        }
        let skipsUnchanged = entries["skip_unchanged"].flatMap { reader.flag($0, "skip_unchanged") } ?? false
        let version = declaredVersion.flatMap { declared in
            reader.compile(
                declared, columns: columns, declared: compiler.declared, key: key, headers: compiler.headers,
                deletesByNull: kafkaKey != .none && !conditions.contains(where: \.isOnField))
        }
        if version != nil, skipsUnchanged, let node = entries["skip_unchanged"] {
            reader.fault(node, "skip_unchanged has no effect with a version: every newer event changes the version's column")
        }
        if mode != .upsert {
            let needy = [
                ("on_update", true), ("delete", !deletion.isEmpty), ("skip_unchanged", skipsUnchanged), ("version", true),
            ]
            for (key, isSet) in needy where isSet {
                if let node = entries[key] {
                    reader.fault(node, "\(key) needs mode upsert; mode \(mode.rawValue) changes no row")
                }
            }
            if columns.contains(where: { $0.shape.policy != ColumnPolicy() }), let node = entries["columns"] {
                reader.fault(node, "on, if_null and merge need mode upsert; mode \(mode.rawValue) changes no row")
            }
        }

        guard reader.faults.isEmpty, let topics, let table, let envelope else { return nil }
        let layout = tree.layout()
        let (placeholders, shapes) =
            envelopeKind == .debezium
            ? self.placeholders(columns, key: key, entries["columns"], layout) : ([], columns.map(\.shape))
        var headers = compiler.headers
        let compiledConditions = ConditionDeclaration.compile(conditions, layout, headers: &headers)
        let steps = zip(columns, shapes).enumerated().map { index, column in
            column.0.step(
                layout, keyPosition: key.firstIndex(of: index) ?? -1, isVersion: version?.shape.column == index,
                isOptional: column.1.isOptional)
        }
        let nullPayload = version.flatMap { $0.nullPayload(steps[$0.shape.column], headers: &headers) }
        let plan = DecodePlan(
            layout: layout, columns: steps, key: key, envelope: envelope.compile(layout, placeholders: placeholders), mode: mode,
            conditions: compiledConditions, kafkaKey: kafkaKey, kafkaKeyMismatch: mismatch, nullPayload: nullPayload,
            fixed: columns.enumerated().compactMap { index, column in column.fixed.map { (index, $0) } }, headers: headers,
            columnNames: shapes.map(\.name), hashKeys: columns.compactMap(\.hashKey),
            schemaColumns: envelopeKind == .debezium ? schemaColumns(columns, key: key) : [])
        let shape = TableShape(
            schema: table.schema, name: table.name, columns: shapes, key: key, mode: mode, onUpdate: onUpdate,
            write: WriteChoice(strategy ?? .auto, triggers: triggers ?? .unknown), deletion: deletion,
            skipsUnchanged: skipsUnchanged, version: version?.shape)
        if shape.hasPolicies, strategy == .coalesce, let write = entries["write"] {
            reader.fault(
                write, "write: coalesce cannot be together with on, if_null, merge, delete: {set: …} or skip_unchanged; remove it"
            )
            return nil
        }
        if shape.hasPartialVersions, strategy == .coalesce, let write = entries["write"] {
            reader.fault(write, "write: coalesce cannot be together with version and optional columns; remove it")
            return nil
        }
        return Mapping(
            file: root.file, topics: topics, table: shape, kafkaKey: kafkaKey, kafkaKeyMismatch: mismatch, plan: plan,
            root: root)
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
            if TopicPattern.internalTopics.contains(name) {
                reader.fault(node, "'\(name)' is a topic of Kafka itself, which is never read")
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
        guard let name = Mapping.tableName(text) else {
            reader.fault(node, "table must be \(Mapping.tableNameForm)")
            return nil
        }
        return name
    }

    private mutating func keyPositions(
        _ names: [(text: String, node: YAMLNode)], declared: [String], columns: [Column]
    ) -> [Int] {
        var seen: Set<String> = []
        for (name, node) in names {
            // Without columns their own fault has been reported.
            if !declared.isEmpty, !declared.contains(name) {
                let hint = MappingReader.suggestion(for: name, among: declared)
                reader.fault(node, "key '\(name)' is not one of the columns" + hint)
            }
            if !seen.insert(name).inserted { reader.fault(node, "key '\(name)' is given twice") }
        }
        return names.compactMap { name in columns.firstIndex { $0.shape.name == name.text } }
    }

    private mutating func kafkaKeyFormat(
        _ node: YAMLNode?, _ envelope: EnvelopeKind, keyNames: [(text: String, node: YAMLNode)]
    ) -> KafkaKeyFormat {
        guard let node else {
            if keyNames.isEmpty { return .none }
            return envelope == .debezium ? .jsonObject : keyNames.count == 1 ? .text : .jsonArray
        }
        // The name that it had before there were two forms of JSON.
        if node.scalar?.text == "json" { return .jsonArray }
        guard let format = reader.choice(node, "kafka_key", of: KafkaKeyFormat.self) else { return .none }
        if format == .text, keyNames.count > 1 {
            reader.fault(
                node, "kafka_key: text needs a key of one column; use kafka_key: json_array for \(keyNames.count) columns")
        }
        if format != .none, keyNames.isEmpty { reader.fault(node, "kafka_key: \(format.rawValue) needs 'key'") }
        return format
    }

    /// Key columns must be different members of a record key that is an object.
    private mutating func checkMembers(_ key: [Column], _ node: YAMLNode) {
        let names = key.compactMap { column -> (field: String, column: String)? in
            guard case .field(let pointer) = column.source else { return nil }
            return (pointer.tokens.last ?? "", column.shape.name)
        }
        let members = RecordKeyNames.members(names)
        for (index, member) in members.enumerated() {
            guard let other = members.firstIndex(of: member), other < index else { continue }
            reader.fault(
                node,
                "kafka_key: json_object: the columns \(names[other].column) and \(names[index].column) would both be the member "
                    + "'\(member)' of the record's key: rename one of them, or use json_array")
        }
    }

    private mutating func kafkaKeyMismatch(_ node: YAMLNode?, _ format: KafkaKeyFormat) -> KafkaKeyMismatch {
        guard let node, let choice = reader.choice(node, "kafka_key_mismatch", of: KafkaKeyMismatch.self) else { return .warn }
        if format == .none, choice != .ignore {
            reader.fault(node, "kafka_key_mismatch: \(choice.rawValue) needs a kafka_key that names the row, and not none")
        }
        return choice
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
