// Owns `sluice mapping suggest`: prints a mapping for a topic, from a sample of its records and from its table.

import Apply
import Decode
import Postgres
import Records
import Settings

/// What `sluice mapping suggest` is to look at.
struct SuggestOptions: Equatable {
    let topic: String
    let table: String?
    let limit: Int
    let config: String?
}

enum SuggestCommand {
    /// - Throws: `SuggestionFault` where the sample holds nothing to go by; errors of the servers.
    static func run(_ options: SuggestOptions) async throws {
        let settings = try SluiceSettings.load(options.config)
        let records = try await TopicReader.records(of: options.topic, limit: options.limit, settings.kafka)
        var (outline, meant): (TableOutline?, String?)
        if let table = options.table {
            let connection = try await PostgresConnection.connect(settings.postgres.connection(name: "sluice mapping suggest"))
            (outline, meant) = try await connection.performLast { session in
                if let outline = try TableInspector.outline(of: table, on: session) { return (outline, nil) }
                return (nil, try TableInspector.nearest(to: Mapping.tableName(table)?.name ?? table, on: session))
            }
        }
        print(
            try MappingSuggestion.text(
                of: records, topic: options.topic, table: options.table, outline: outline, nearestTable: meant), terminator: "")
    }
}
