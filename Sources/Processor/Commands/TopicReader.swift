// Reads the first records of a topic for commands, with the settings of the servers alone.

import Foundation
import Kafka
import Records
import Settings

enum TopicReader {
    /// The first records of a topic, one a batch.
    /// - Throws: `KafkaError` where the topic does not exist or cannot be read.
    static func records(of topic: String, limit: Int, _ kafka: KafkaSettings) async throws -> [RecordBatch] {
        let client = kafka.client { _, _ in }
        let metadata = try KafkaMetadata.start(client, groupID: "")
        let partitions = try await metadata.partitions(of: topic)
        _ = await metadata.close(deadline: .seconds(1))
        return try await TopicSample.read(topic, partitions: partitions, limit: limit, client)
    }
}

extension SluiceSettings {
    /// The settings, without reading the mappings that they name: these may not exist yet.
    /// - Parameter path: of the configuration; `nil`: the usual one where it exists.
    static func load(_ path: String?) throws(SettingsFaults) -> SluiceSettings {
        let path = path ?? Configuration.usualFile()
        let file: YAMLNode?
        if let path { file = try YAML.load(path: path) } else { file = nil }
        let (settings, faults) = Configuration.survey(file, ProcessInfo.processInfo.environment)
        if !faults.isEmpty { throw SettingsFaults(faults) }
        return settings.value
    }
}
