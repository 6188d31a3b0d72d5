// A compiled mapping: what a topic's events mean for a table.

public import Records
public import Settings

/// How a record's Kafka key names a row.
public enum KafkaKeyFormat: String, Sendable, CaseIterable {
    /// The key column's text: an integer in decimal, a text as it is, a date as `YYYY-MM-DD`. One key column only.
    case text
    /// A JSON array of the key columns' values, in key order.
    case json
}

/// One mapping file, compiled: everything a ``Decoder`` needs, worked out once.
public struct Mapping: Sendable {
    /// The file it came from, as messages should name it.
    public let file: String
    /// The topics whose events it decodes.
    public let topics: [String]
    /// The table it fills.
    public let table: TableShape
    /// How a record's Kafka key names a row.
    public let kafkaKey: KafkaKeyFormat
    let plan: DecodePlan

    /// Compiles mapping files that will work together: one a table, and no topic in two of them.
    /// - Parameter files: the root node of each file.
    /// - Returns: the mappings in the order of the files.
    /// - Throws: ``MappingFaults`` with everything that is wrong in all of them.
    public static func compile(_ files: [YAMLNode]) throws(MappingFaults) -> [Mapping] {
        var mappings: [Mapping] = []
        var faults: [MappingFault] = []
        var owners: [String: String] = [:]
        for file in files {
            var compiler = MappingCompiler()
            let mapping = compiler.compile(file)
            faults += compiler.faults.sorted { $0.line < $1.line }
            guard let mapping else { continue }
            mappings.append(mapping)
            for topic in mapping.topics {
                if let owner = owners.updateValue(file.file, forKey: topic) {
                    let message = "topic '\(topic)' is also mapped by \(owner); a topic belongs to one mapping"
                    faults.append(MappingFault(file: file.file, line: file.line, message: message))
                }
            }
        }
        if !faults.isEmpty { throw MappingFaults(faults: faults) }
        return mappings
    }
}
