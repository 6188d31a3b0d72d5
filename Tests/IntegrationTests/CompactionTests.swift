// Tests a compacted topic on a real Kafka: offsets that are missing cost no seeks.

import Foundation
import Kafka
import TestSupport
import Testing

extension EndToEnd {
    /// A compacted log with a hole before every second record is read like another: everything that is left is applied.
    @Test func holesOfCompactionCostNoSeeks() async throws {
        try await World.run("compacted", partitions: 1) { world in
            try await world.kafka.tool(
                "kafka-configs.sh",
                [
                    "--bootstrap-server", world.kafka.bootstrapServers, "--alter", "--entity-type", "topics", "--entity-name",
                    world.topic, "--add-config",
                    "cleanup.policy=compact,segment.ms=1000,min.cleanable.dirty.ratio=0.001,max.compaction.lag.ms=1000",
                ])
            // Every third record has the same key, of which the last one is kept.
            try await world.produce((0..<30_000).map { ($0.isMultiple(of: 3) ? "same" : "\($0)", $0) })
            let size = try world.logSize()
            try #require(size > 1_000_000, "\(size) bytes")
            // A record after a second begins another segment; the one before it is compacted.
            try await Task.sleep(for: .milliseconds(1_500))
            try await world.produce([("last", 30_000)])
            try await world.reached("the log is compacted", within: .seconds(60)) { try world.logSize() < size * 4 / 5 }

            let start = ContinuousClock.now
            let worker = try await world.worker("worker")
            try await world.reached("everything is applied", within: .seconds(60)) { try await world.applied() == 30_001 }
            let gaps = try await worker.metric("sluice_consumer_gaps_total")
            print("compacted: \(gaps) gaps, applied \(ContinuousClock.now - start) after the start of the worker")
            try #require(gaps > 9_000)
            try #require(try await worker.metric("sluice_consumer_reseeks_total") <= 1)
            try #require(try await worker.metric("sluice_consumer_duplicates_total") == 0)
            try await world.expectTables(try await world.oracle())
        }
    }
}

extension World {
    /// Produces Upserts of these keys and ids to partition 0.
    fileprivate func produce(_ records: [(key: String, id: Int)]) async throws {
        let producer = try KafkaProducer.start(
            KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: kafka.bootstrapServers)))
        let target = try await producer.prepare(topic).topic
        for record in records {
            let event = #"{"action":"Upsert","message_id":\#(record.id),"data":{"name":"n","message":"m"}}"#
            let (key, value) = (Array(record.key.utf8), Array(event.utf8))
            let error = key.withUnsafeBytes { key in
                value.withUnsafeBytes { producer.produce(target, key: key, value: $0, partition: 0, token: 0) }
            }
            if let error { throw error }
        }
        let isComplete = await producer.close(deadline: .seconds(60))
        try #require(isComplete && producer.statistics.delivered == records.count)
    }

    /// Bytes of the segments of partition 0.
    fileprivate func logSize() throws -> Int {
        let files = FileManager.default.enumerator(at: kafka.directory, includingPropertiesForKeys: [.fileSizeKey])
        var size = 0
        while let file = files?.nextObject() as? URL {
            guard file.pathExtension == "log", file.deletingLastPathComponent().lastPathComponent == "\(topic)-0" else {
                continue
            }
            size += try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
        }
        return size
    }
}
