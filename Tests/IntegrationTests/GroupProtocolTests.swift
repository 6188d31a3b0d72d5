// Tests the group protocol `consumer` (KIP-848) with a real Kafka.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Members come and go under load: each event is applied once, and the members share the partitions. A librdkafka that lacks the
    /// protocol is a fault of the configuration.
    @Test func membersOfTheProtocolConsumerComeAndGo() async throws {
        try await World.run("consumer-group", partitions: 6) { world in
            let consumer = ["SLUICE_KAFKA_GROUP_PROTOCOL": "consumer"]
            let check = try world.start(
                "sluice", ["check-config", "--config", try world.configuration()], named: "check", environment: consumer)
            if try await check.ended(within: .seconds(60)) != .exited(0) {
                try #require(check.output.contains("kafka.group_protocol: consumer needs librdkafka 2.12.0 or newer"))
                return print("SKIPPED: consumer-group needs librdkafka 2.12.0 or newer: run it with LD_LIBRARY_PATH=<its folder>")
            }
            let load = try world.load(LoadPlan(rate: 4_000))
            let first = try await world.worker("first", role: "all", consumer)
            try await world.hasPartitions(first, 6)
            let groups = try await world.kafka.tool(
                "kafka-consumer-groups.sh",
                ["--bootstrap-server", world.kafka.bootstrapServers, "--list", "--type", "consumer"])
            try #require(groups.contains(world.group), "the group is not of the protocol consumer: \(groups)")
            try await world.progress(4_000)
            let second = try await world.worker("second", role: "all", consumer)
            try await world.hasPartitions(second, 3)
            try await world.hasPartitions(first, 3)
            try await world.progress(4_000)
            let third = try await world.worker("third", role: "all", consumer)
            for worker in [third, first, second] { try await world.hasPartitions(worker, 2) }
            try #require(try await second.terminate() == .exited(0))
            try await world.hasPartitions(first, 3)
            try await world.hasPartitions(third, 3)
            try await world.progress(4_000)
            try #require(try await first.terminate() == .exited(0))
            try await world.hasPartitions(third, 6)
            let again = try await world.worker("first", role: "all", consumer)
            try await world.hasPartitions(again, 3)
            try await load.stopped()
            try await world.expectExact()
            for worker in [third, again] {
                try #require(!worker.process.output.contains("refused the assignment"), "\(worker.process.output.suffix(2000))")
            }
        }
    }
}
