// Owns a compiled mapping: how the events of topics become rows of a table.

public import Records
public import Settings

/// How a record's Kafka key names a row.
public enum KafkaKeyFormat: String, Sendable, CaseIterable {
    /// The key column's text: an integer in decimal, a text as it is, a date as `YYYY-MM-DD`. One key column only.
    case text
    /// A JSON array of the key columns' values, in key order.
    case jsonArray = "json_array"
    /// A JSON object with a member for each key column, named as the field that the column reads or as the column; with or without
    /// Kafka Connect's `schema` and `payload` around it.
    case jsonObject = "json_object"
    /// The key says nothing of a row.
    case none
}

/// What happens to an event whose record key names another row than its payload.
public enum KafkaKeyMismatch: String, Sendable, CaseIterable {
    /// Nobody looks.
    case ignore
    /// The event is applied, and counted.
    case warn
    /// The event is refused.
    case fault
}

/// One compiled mapping file.
public struct Mapping: Sendable {
    /// The file's name for messages.
    public let file: String
    /// The topics whose events it decodes.
    public let topics: [String]
    /// The table it fills.
    public let table: TableShape
    /// How a record's Kafka key names a row.
    public let kafkaKey: KafkaKeyFormat
    /// What happens to an event whose record key names another row.
    public let kafkaKeyMismatch: KafkaKeyMismatch
    let plan: DecodePlan
    /// The file's content.
    let root: YAMLNode

    /// The line that says what a path of keys names, such as `["columns", "id"]`, or the line of as much of it as the file has; the last key
    /// may be an item of a list.
    public func line(of path: [String]) -> Int {
        var (node, line) = (root, root.line)
        for key in path {
            if let entry = node.mapping?.first(where: { $0.key == key }) {
                (node, line) = (entry.value, entry.line)
            } else {
                return node.sequence?.first { $0.scalar?.text == key }?.line ?? line
            }
        }
        return line
    }

    /// The file's name without folders and without its ending: what dead letters call it.
    public var name: String {
        let last = file.split(separator: "/").last ?? ""
        return String(last.lastIndex(of: ".").map { last[..<$0] } ?? last)
    }

    /// The table as the file names it.
    public var tableName: String { [table.schema, table.name].compactMap(\.self).joined(separator: ".") }

    /// What dead letters and metrics name where the route had no mapping for a record.
    public static let routeName = "route"

    /// What the name of a table must be.
    public static let tableNameForm = "a name or schema.name, each of 1 to 63 bytes"

    /// The parts of a table's name; `nil`: it has not ``tableNameForm``.
    public static func tableName(_ text: String) -> (schema: String?, name: String)? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, parts.allSatisfy(ColumnCompiler.isIdentifier) else { return nil }
        return (parts.count == 2 ? parts[0] : nil, parts[parts.count - 1])
    }

    /// Compiles mapping files that are used together: their names differ, no topic is in two of them, and no table in two that change
    /// rows.
    /// - Parameters:
    ///   - files: the root node of each file.
    ///   - routed: the names of the files of the route's mappings: these may have topics in common.
    /// - Returns: the mappings in the order of the files.
    /// - Throws: ``MappingFaults`` with all faults of all files.
    public static func compile(_ files: [YAMLNode], routed: Set<String> = []) throws(MappingFaults) -> [Mapping] {
        var mappings: [Mapping] = []
        var faults: [MappingFault] = []
        var owners: [String: String] = [:]
        var names: Set<String> = []
        var tables: [String: String] = [:]
        for file in files {
            var compiler = MappingCompiler()
            let mapping = compiler.compile(file)
            faults += compiler.faults.sorted { $0.line < $1.line }
            guard let mapping else { continue }
            mappings.append(mapping)
            func fault(_ message: String) { faults.append(MappingFault(file: file.file, line: file.line, message: message)) }
            if !names.insert(mapping.name).inserted {
                fault("another mapping is called \(mapping.name), too; dead letters and metrics name a mapping by its file")
            }
            if !routed.isEmpty, mapping.name == routeName {
                fault("a mapping must not be called \(routeName): dead letters and metrics name the route so; rename the file")
            }
            let table = mapping.tableName
            if mapping.table.mode == .upsert, let owner = tables.updateValue(file.file, forKey: table) {
                fault("table \(table) is also in \(owner); events of one row would have no order")
            }
            for topic in mapping.topics {
                guard let owner = owners.updateValue(file.file, forKey: topic) else { continue }
                if !routed.contains(owner) || !routed.contains(file.file) {
                    fault("topic '\(topic)' is also in \(owner); a topic belongs to one mapping, or to several of route.tables")
                }
            }
        }
        if !faults.isEmpty { throw MappingFaults(faults: faults) }
        return mappings
    }
}
