// Tests `sluice mapping suggest` and `sluice try` on a topic of a real Kafka.

import Foundation
import Kafka
import TestSupport
import Testing

extension EndToEnd {
    /// What is suggested for the topic takes its events, and no group is left behind.
    @Test func aTopicIsSampledWithoutAGroup() async throws {
        try await World.run("sample", partitions: 3) { world in
            let producer = try KafkaProducer.start(
                KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: world.kafka.bootstrapServers)))
            let topic = try await producer.prepare(world.topic).topic
            for id in 0..<60 {
                let (key, value) = (
                    Array("\(id)".utf8), Array(#"{"action":"Upsert","message_id":\#(id),"data":{"name":"n"}}"#.utf8)
                )
                let error = key.withUnsafeBytes { key in
                    value.withUnsafeBytes { producer.produce(topic, key: key, value: $0, token: 0) }
                }
                if let error { throw error }
            }
            let isComplete = await producer.close(deadline: .seconds(30))
            try #require(isComplete)
            func sluice(_ arguments: [String]) async throws -> String {
                let arguments = arguments + ["--topic", world.topic, "--config", try world.configuration()]
                let process = try world.start("sluice", arguments, named: UUID().uuidString)
                let ending = try await process.ended(within: .seconds(60))
                try #require(ending == .exited(0), "\(process.output)")
                return process.output
            }
            let suggested = try await sluice(["mapping", "suggest"])
            try #require(
                suggested.contains("Suggested from 60 records") && suggested.contains("key: [message_id]\n"), "\(suggested)")
            let mapping = world.directory.appendingPathComponent("suggested.yaml")
            try suggested.write(to: mapping, atomically: true, encoding: .utf8)
            let tried = try await sluice(["try", "--mapping", mapping.path, "--limit", "100"]).split(separator: "\n")
            try #require(tried.count == 60 && tried.allSatisfy { $0.contains(": upsert message_id = ") }, "\(tried)")
            let groups = try await world.kafka.tool(
                "kafka-consumer-groups.sh", ["--bootstrap-server", world.kafka.bootstrapServers, "--list"])
            try #require(!groups.contains(world.group), "\(groups)")
        }
    }
}
