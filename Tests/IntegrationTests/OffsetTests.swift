// Tests start offsets, offsets outside the log, and the offsets that Kafka's own tools show.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Kafka's tools show the offsets stored in PostgreSQL; a stored offset outside the log stops its partition, or is replaced.
    @Test func committedAndOutOfRangeOffsets() async throws {
        try await World.run("offsets", partitions: 4) { world in
            let load = try world.load(LoadPlan(events: 8_000))
            var worker = try await world.worker("worker")
            try await load.finished()
            try await world.expectExact()
            let stored = try await world.offsets()
            try await world.reached("the offsets are committed") { try await world.committed() == stored }
            let description = try await world.kafka.tool(
                "kafka-consumer-groups.sh",
                ["--bootstrap-server", world.kafka.bootstrapServers, "--describe", "--group", world.group])
            for (partition, offset) in stored {
                let words = description.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
                    .first { $0.count > 5 && $0[1] == world.topic && $0[2] == "\(partition)" }
                try #require(words?[3...5] == ["\(offset)", "\(offset)", "0"], "\(partition): \(offset), but \(description)")
            }
            try #require(try await worker.terminate() == .exited(0))

            // All partitions from the beginning, but for partition 1, whose stored offset is beyond the log.
            try await world.sql("TRUNCATE messages, messages_cdc")
            try await world.sql("UPDATE sluice_offsets SET next_offset = CASE partition WHEN 1 THEN 1000000 ELSE 0 END")
            worker = try await world.worker("worker")
            try await world.expectExact(except: [1])
            // The consumer finds out that the log does not hold the offset.
            let running = worker
            try await world.reached("partition 1 is stopped") {
                try await running.metric("sluice_partition_stopped") == 1
            }
            let readiness = try await worker.get("/readyz")
            try #require(readiness.status == 503)
            try #require(readiness.body.contains("\(world.topic)[1]") && readiness.body.contains("1000000"), "\(readiness.body)")
            try #require(worker.process.output.contains("Partition stopped"))
            try #require(try await worker.terminate() == .exited(0))

            worker = try await world.worker("worker", ["SLUICE_KAFKA_OFFSET_OUT_OF_RANGE": "earliest"])
            try await world.expectExact()
            try #require(try await worker.get("/readyz").status == 200)
        }
    }

    /// `latest` is for the group's first start: what is produced to added partitions before they are noticed is applied.
    @Test func addedPartitionsAreReadFromTheirBeginning() async throws {
        try await World.run("added", partitions: 2) { world in
            let worker = try await world.worker("worker", ["SLUICE_KAFKA_AUTO_OFFSET_RESET": "latest"])
            try await world.hasPartitions(worker, 2)
            try await world.load(LoadPlan(events: 1_000)).finished()
            try await world.expectExact()
            try await world.kafka.tool(
                "kafka-topics.sh",
                [
                    "--bootstrap-server", world.kafka.bootstrapServers, "--alter", "--topic", world.topic, "--partitions", "4",
                ])
            let start = ContinuousClock.now
            // A producer that begins with two partitions and goes on with four sends the events of a key to two of them.
            try await world.reached("the broker knows four partitions") {
                try await world.kafka.tool(
                    "kafka-topics.sh", ["--bootstrap-server", world.kafka.bootstrapServers, "--describe", "--topic", world.topic]
                ).contains("PartitionCount: 4")
            }
            try await world.load(LoadPlan(events: 2_000, base: 100_000)).finished()
            try await world.hasPartitions(worker, 4)
            print("added: partitions are assigned \(ContinuousClock.now - start) after they were made")
            try await world.expectExact()
            try #require(worker.process.output.contains("it is read from its beginning"))
            // The memory is divided anew, by a consumer with smaller queues, in the same process.
            try #require(worker.process.output.contains("More partitions are assigned than the memory budget was divided for"))
            let splits = worker.process.output.matches(of: /Memory budget split\..*? partitions=(\d+)/).map { String($0.1) }
            try #require(splits == ["2", "4"], "\(splits)")
            try #require(try await worker.get("/readyz").status == 200)
            try #require(try await worker.terminate() == .exited(0))
        }
    }

    /// A producer dies in a transaction: what was produced since is lag and a stall of its own, and is applied once the broker aborts it.
    @Test func anOpenTransactionIsLagAndAStall() async throws {
        try await World.run("open-transaction", partitions: 1) { world in
            let worker = try await world.worker("worker", ["SLUICE_PIPELINE_STALL_TIMEOUT": "1s"])
            try await world.hasPartitions(worker, 1)
            try await world.kafka.tool(
                "kafka-producer-perf-test.sh",
                [
                    "--topic", world.topic, "--num-records", "1000000", "--throughput", "20", "--record-size", "50",
                    "--transactional-id", "hangs", "--transaction-duration-ms", "600000",
                    "--producer-props", "bootstrap.servers=\(world.kafka.bootstrapServers)", "transaction.timeout.ms=20000",
                ], killedOnce: { try await world.ends().values.reduce(0, +) > 20 })
            try await world.load(LoadPlan(events: 500)).finished()
            try await world.reached("the stall is named", within: .seconds(15)) {
                try await worker.get("/metrics").body.contains("sluice_stalled{reason=\"open_transaction\"} 1")
            }
            try await world.reached("all that was produced since is lag", within: .seconds(15)) {
                try await worker.metric("kafka_consumergroup_lag") > 500
            }
            try #require(try await worker.get("/readyz").body.contains("open_transaction"))
            try await world.reached("the lag ends with the transaction", within: .seconds(60)) {
                try await worker.metric("kafka_consumergroup_lag") == 0
            }
            try #require(try await world.number("SELECT count(*) FROM messages") > 0)
        }
    }

    /// A log that ends in a transaction marker, which is not a record, leaves no lag, also after a restart.
    @Test func transactionMarkersLeaveNoLag() async throws {
        try await World.run("transactions", partitions: 2) { world in
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)")
            defer { try? FileManager.default.removeItem(at: file) }
            let payloads = (1...50).map { #"{"action":"Upsert","message_id":\#($0),"data":{"name":"n","message":"m"}}"# }
            try payloads.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            try await world.kafka.tool(
                "kafka-producer-perf-test.sh",
                [
                    "--topic", world.topic, "--num-records", "400", "--throughput", "-1", "--payload-file", file.path,
                    "--transactional-id", "transactions", "--transaction-duration-ms", "50",
                    "--producer-props", "bootstrap.servers=\(world.kafka.bootstrapServers)",
                ])
            let ends = try await world.ends()
            try #require(ends.values.reduce(0, +) > 400, "there are no markers: \(ends)")
            for _ in 0..<2 {
                let worker = try await world.worker("worker")
                try await world.hasPartitions(worker, 2)
                try await world.reached("no lag is left") {
                    let metrics = [
                        try await worker.metric("kafka_consumergroup_lag"), try await worker.metric("sluice_lag_seconds"),
                        try await worker.metric("sluice_lag_eta_seconds"),
                    ]
                    return metrics == [0, 0, 0]
                }
                try await world.reached("the end is committed") { try await world.committed() == ends }
                // A marker is a gap, and costs no seek, but for one where reading begins.
                try await world.reached("the markers are met") { try await worker.metric("sluice_consumer_gaps_total") > 0 }
                try #require(try await worker.metric("sluice_consumer_reseeks_total") <= 2)
                try #require(try await worker.terminate() == .exited(0))
            }
            // The stored offsets are those after the last records, before the markers.
            try await world.expectTables(try await world.oracle())
        }
    }

    /// Without a stored offset the group's committed one is used, and without that `auto_offset_reset`.
    @Test func theFirstStart() async throws {
        try await World.run("first-start", partitions: 4) { world in
            try await world.load(LoadPlan(events: 4_000)).finished()
            let ends = try await world.ends()
            try #require(ends.values.allSatisfy { $0 > 100 })
            try await world.kafka.tool(
                "kafka-consumer-groups.sh",
                [
                    "--bootstrap-server", world.kafka.bootstrapServers, "--group", world.group, "--reset-offsets",
                    "--topic", "\(world.topic):0,1", "--to-offset", "100", "--execute",
                ])
            let worker = try await world.worker("worker", ["SLUICE_KAFKA_AUTO_OFFSET_RESET": "latest"])
            try await world.hasPartitions(worker, 4)
            try await world.load(LoadPlan(events: 2_000, base: 50_000, mix: "1:0:0")).finished()
            try await world.expectExact(skipping: [0: 100, 1: 100, 2: ends[2] ?? 0, 3: ends[3] ?? 0])
        }
    }
}
