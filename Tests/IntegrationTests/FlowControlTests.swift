// Tests credits and pauses on a real Kafka: large records, a slow database, and one at full speed.

import Foundation
import Kafka
import TestSupport
import Testing

extension EndToEnd {
    /// With the shipped budget, records larger than a partition's credits, or than all credits, are applied among small ones.
    @Test func largeRecordsPassAmongSmallOnes() async throws {
        try await World.run("large-records", partitions: 4) { world in
            try await world.kafka.tool(
                "kafka-configs.sh",
                [
                    "--bootstrap-server", world.kafka.bootstrapServers, "--alter", "--entity-type", "topics", "--entity-name",
                    world.topic, "--add-config", "max.message.bytes=16777216",
                ])
            let worker = try await world.worker("worker")
            try await world.hasPartitions(worker, 4)
            try await world.load(LoadPlan(events: 4_000)).finished()
            let budget = try await worker.metric("sluice_memory_budget_bytes")
            try #require(budget == Double(64 << 20))
            try await world.expectExact()
            let credits = try await worker.metric("sluice_stage_credits{stage=\"poll\",unit=\"bytes\"}")

            // One record of 8 MiB in each partition while nothing can be written; two of them are more than all credits.
            try await world.holdingTable {
                try await world.produce(
                    (0..<4).map { (partition: $0, id: 100_000 + $0, bytes: 8 << 20) }
                        + (0..<400).map { (partition: $0 % 4, id: 101_000 + $0, bytes: 300) })
                try await world.reached("the credits are below 0", within: .seconds(60)) {
                    try await worker.metric("sluice_stage_credits{stage=\"poll\",unit=\"bytes\"}") < 0
                }
                let records = try await worker.metric("sluice_memory_share_used_bytes{share=\"records\"}")
                try #require(records > 12e6 && records < 22e6, "at most one record beyond the credits: \(records)")
            }
            let sizes = [64 << 10, 1 << 20, 2_000_000, 5 << 20, 8_300_000]
            for round in 0..<3 {
                try await world.produce(
                    (0..<40).map { number in
                        let bytes = number % 8 == 0 ? sizes[(number / 8 + round) % sizes.count] : 200
                        return (partition: number % 4, id: 200_000 + round * 1_000 + number, bytes: bytes)
                    })
            }
            try await world.expectExact(within: .seconds(120))
            print("large-records: \(Int(try await worker.metric("process_resident_memory_bytes")) >> 20) MiB resident")
            try await world.reached("all credits are back") {
                try await worker.metric("sluice_memory_share_used_bytes{share=\"records\"}") == 0
            }
            // What librdkafka holds is measured, and forgotten after seconds: large records leave the credits as they were.
            try await world.reached("the credits are as many as before") {
                try await worker.metric("sluice_stage_credits{stage=\"poll\",unit=\"bytes\"}") == credits
            }
            try #require(try await worker.get("/readyz").status == 200)
        }
    }

    /// A budget too small for the topic's partitions ends the start with an error that names the least budget; with that it
    /// starts.
    @Test func aBudgetTooSmallEndsTheStart() async throws {
        try await World.run("small-budget", partitions: 64) { world in
            let process = try world.launch("small", ["SLUICE_PIPELINE_MEMORY_BUDGET_BYTES": "\(16 << 20)"])
            try #require(try await process.ended(within: .seconds(60)) == .exited(78))
            let last = process.output.split(separator: "\n").last.map(String.init) ?? ""
            for part in ["pipeline.memory_budget_bytes", "64 partitions"] {
                try #require(last.contains(part), "its last line: \(last)")
            }
            let words = last.split { !$0.isNumber }.compactMap { Int($0) }
            let least = try #require(words.first { $0 > 16 << 20 }, "no least in \(last)")
            try await world.load(LoadPlan(events: 2_000)).finished()
            _ = try await world.worker("enough", ["SLUICE_PIPELINE_MEMORY_BUDGET_BYTES": "\(least)"])
            try await world.expectExact()
        }
    }

    /// With transactions that take longer than the pause dwell, partitions are paused and resumed; at full speed none is.
    @Test func partitionsArePausedForASlowDatabase() async throws {
        try await World.run("pauses", partitions: 6) { world in
            // A disk that stands still for longer than the dwell pauses partitions, too: another attempt, then.
            var counts: [Double] = []
            for _ in 0..<3 where counts != [0, 0, 0] {
                try await world.load(LoadPlan(events: 60_000)).finished()
                let fast = try await world.worker("worker")
                try await world.expectExact()
                try await fast.expectWithinBudget()
                counts = []
                for counter in ["pauses", "resumes", "flaps"] {
                    counts.append(try await fast.metric("sluice_partition_\(counter)_total"))
                }
                try #require(try await fast.terminate() == .exited(0))
            }
            try #require(counts == [0, 0, 0], "pauses, resumes and flaps at full speed: \(counts)")

            try await world.sql(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'")
            try await world.sql(
                "CREATE TRIGGER slow AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow()")
            try await world.load(LoadPlan(events: 40_000, keys: 400_000, base: 1_000_000, mix: "1:0:0")).finished()
            let worker = try await world.worker(
                "worker",
                [
                    "SLUICE_PIPELINE_PAUSE_DWELL": "300ms", "SLUICE_APPLY_BATCH_RECORDS": "2000",
                    "SLUICE_KAFKA_SESSION_TIMEOUT": "10s",
                ])
            try await world.hasPartitions(worker, 6)
            for (counter, least) in [("pauses", 3.0), ("resumes", 3.0)] {
                try await world.reached("\(least) \(counter)", within: .seconds(90)) {
                    try await worker.expectWithinBudget()
                    return try await worker.metric("sluice_partition_\(counter)_total") >= least
                }
            }
            try await world.expectExact(within: .seconds(180))
            try await world.reached("no partition is paused") {
                try await worker.metric("sluice_partition_paused") == 0
            }
            let pauses = try await worker.metric("sluice_partition_pauses_total")
            try #require(try await worker.metric("sluice_partition_resumes_total") == pauses)
            print("pauses: \(pauses) pauses, \(try await worker.metric("sluice_partition_flaps_total")) of them flaps")
            try #require(try await worker.metric("sluice_rebalances_total") == 1, "the member stays in its group")
        }
    }
}

extension Worker {
    /// The memory used must not exceed the budget.
    fileprivate func expectWithinBudget() async throws {
        let used = try await metric("sluice_memory_used_bytes")
        let budget = try await metric("sluice_memory_budget_bytes")
        try #require(budget > 0 && used <= budget, "\(used) of \(budget) bytes")
    }
}

extension World {
    /// Produces one Upsert each, with this partition, id and approximate size.
    fileprivate func produce(_ records: [(partition: Int, id: Int, bytes: Int)]) async throws {
        var configuration = KafkaProducerConfiguration(
            client: KafkaClientConfiguration(
                bootstrapServers: kafka.bootstrapServers, properties: ["message.max.bytes": "16000000"]))
        configuration.messageTimeout = .seconds(60)
        let producer = try KafkaProducer.start(configuration)
        let target = try await producer.prepare(topic).topic
        for record in records {
            let text = String(repeating: "x", count: record.bytes)
            let event = #"{"action":"Upsert","message_id":\#(record.id),"data":{"name":"n","message":"\#(text)"}}"#
            let (key, value) = (Array("\(record.id)".utf8), Array(event.utf8))
            let error = key.withUnsafeBytes { key in
                value.withUnsafeBytes {
                    producer.produce(target, key: key, value: $0, partition: Int32(record.partition), token: 0)
                }
            }
            if let error { throw error }
        }
        let isComplete = await producer.close(deadline: .seconds(60))
        try #require(isComplete && producer.statistics.delivered == records.count)
    }
}
