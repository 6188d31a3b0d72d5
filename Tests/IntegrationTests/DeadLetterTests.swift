// Tests records that cannot be decoded and events that the table refuses, among many valid ones.

import Foundation
import Kafka
import TestSupport
import Testing

extension EndToEnd {
    /// Some records are not events, some events are refused by the table, some records are tombstones.
    @Test func mixedBadRecords() async throws {
        try await World.run("poison", partitions: 6) { world in
            try await world.sql("ALTER TABLE messages ADD CONSTRAINT unlucky CHECK (name NOT LIKE '%13')")
            let worker = try await world.worker("worker")
            try await world.load(LoadPlan(events: 20_000, badFraction: 0.01)).finished()
            try await world.produceTombstones()
            try await world.expectExact(refuses: { $0.name.hasSuffix("13") })
            let reasons = try await world.number("SELECT count(DISTINCT reason) FROM sluice_dead_letters")
            try #require(reasons > 2)
            let refused = try await world.number("SELECT count(*) FROM sluice_dead_letters WHERE sqlstate = '23514'")
            try #require(refused > 10, "the table refused only \(refused) events")
            let counted = try await worker.metric("sluice_dead_letters_total")
            try #require(try await world.number("SELECT count(*) FROM sluice_dead_letters") == Int64(counted))
            try #require(try await worker.get("/readyz").status == 200)
        }
    }
}

extension World {
    /// Deletes by tombstones, most of present rows, and one with a key that does not name a row.
    fileprivate func produceTombstones() async throws {
        let producer = try KafkaProducer.start(
            KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: kafka.bootstrapServers)))
        let target = try await producer.prepare(topic).topic
        for id in 1...40 { _ = try await producer.send(target, key: Array("\(id)".utf8), value: nil) }
        _ = try await producer.send(target, key: Array("nobody".utf8), value: nil)
        _ = await producer.close(deadline: .seconds(30))
    }
}
