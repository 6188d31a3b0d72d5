// Tests one worker with two mappings, one of which has nothing but bad records.

import Foundation
import Kafka
import TestSupport
import Testing

extension EndToEnd {
    /// Of two mappings one is pure poison: its partition stops loudly, and the other's events are applied exactly, before and after. Its
    /// topics are named by an expression.
    @Test func aPoisonedMappingStopsAlone() async throws {
        try await World.run("mappings", partitions: 3) { world in
            let notes = "\(world.topic)-notes"
            try await world.kafka.create([(notes, 1)])
            try await world.sql("CREATE TABLE notes (id int4 PRIMARY KEY, note text)")
            let worker = try await world.worker(
                "worker", ["SLUICE_APPLY_POISON_RECORDS": "200"], configuration: try world.configurationOfTwo(notes))
            let load = try world.load(LoadPlan(rate: 2_000))
            let producer = try KafkaProducer.start(
                KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: world.kafka.bootstrapServers)))
            let target = try await producer.prepare(notes).topic
            func send(_ text: String) async throws { _ = try await producer.send(target, key: nil, value: Array(text.utf8)) }
            for id in 1...20 { try await send(#"{"action":"put","id":\#(id),"note":"n"}"#) }
            try await world.reached("the notes are there") { try await world.number("SELECT count(*) FROM notes") == 20 }
            // 100 a second, until the partition is stopped.
            let stopped = "sluice_partition_stopped{topic=\"\(notes)\",partition=\"0\",reason=\"poison\"} 1"
            for number in 0..<3_000 {
                try await send("bad \(number)")
                if number % 20 == 0, try await worker.get("/metrics").body.contains(stopped) { break }
                try await Task.sleep(for: .milliseconds(10))
            }
            try #require(try await worker.get("/metrics").body.contains(stopped))
            try #require(try await worker.get("/readyz").body.contains(notes))
            try await world.progress(10_000)
            try await load.stopped()
            try await world.expectExact()
            let lettered = try await world.number("SELECT count(*) FROM sluice_dead_letters WHERE mapping = 'notes'")
            try #require(lettered > 0 && lettered < 3_000)
            let counted = try await worker.metric(#"sluice_mapping_events_total{mapping="notes",outcome="dead_lettered"}"#)
            try #require(Int64(counted) == lettered)
            // Another topic that the expression matches.
            try await world.kafka.create([("\(notes)-2", 2)])
            let later = try await producer.prepare("\(notes)-2").topic
            let event = #"{"action":"put","id":77,"note":"later"}"#
            _ = try await producer.send(later, key: nil, value: Array(event.utf8))
            try await world.reached("the topic is read", within: .seconds(60)) {
                try await world.number("SELECT count(*) FROM notes WHERE note = 'later'") == 1
            }
            _ = await producer.close(deadline: .seconds(30))
        }
    }
}

extension World {
    /// A configuration with the usual mapping and that of `notes`.
    fileprivate func configurationOfTwo(_ topic: String) throws -> String {
        try """
        topics: ["^\(topic)"]
        table: notes
        key: [id]
        action: {path: /action, upsert: [put]}
        columns: {id: {path: /id, type: int4}, note: {path: /note, type: text}}

        """.write(to: directory.appendingPathComponent("notes.yaml"), atomically: true, encoding: .utf8)
        let usual = try String(contentsOfFile: try configuration(), encoding: .utf8)
        let file = directory.appendingPathComponent("two.yaml")
        try usual.replacingOccurrences(of: "mappings: [", with: "mappings: [notes.yaml, ")
            .write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }
}
