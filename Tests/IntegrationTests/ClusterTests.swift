// Tests a Kafka of three brokers: brokers that fail and are restarted, partitions without a leader, workers that are restarted.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Every partition has three replicas. One broker is killed and started again; then all are restarted one after the other.
    @Test func brokersFailAndAreRestarted() async throws {
        try await World.run("brokers", partitions: 6, replicas: 3) { world in
            let workers = [try await world.worker("one"), try await world.worker("two")]
            for worker in workers { try await world.hasPartitions(worker, 3) }
            let load = try world.load(LoadPlan(rate: 2_000))
            try await world.progress(3_000)

            var watch = IdleWatch(world)
            await world.kafka.kill(node: 2)
            try await world.progress(6_000)
            try await world.kafka.start()
            try await world.kafka.replicate()
            try await world.progress(3_000)
            _ = try await watch.stop("brokers: one of three killed and started again")

            watch = IdleWatch(world)
            for node in world.kafka.nodes {
                try await world.kafka.stop(node: node)
                try await world.kafka.start()
                try await world.kafka.replicate()
            }
            try await world.progress(3_000)
            _ = try await watch.stop("brokers: three restarted one after the other")
            try await load.stopped()
            try await world.expectExact()
            for worker in workers { try #require(worker.process.ending == nil) }
        }
    }

    /// Every partition has one replica. While a broker is down, a third of the partitions has no leader; members join and leave.
    @Test func partitionsWithoutALeaderHoldUpNoOther() async throws {
        try await World.run("leaderless", partitions: 6, replicas: 1) { world in
            var first = try await world.worker("first")
            try await world.hasPartitions(first, 6)
            let load = try world.load(LoadPlan(rate: 2_000))
            try await world.progress(3_000)
            await world.kafka.kill(node: 3)
            try await world.reached("partitions have no leader") { try await !world.kafka.leaderless(of: world.topic).isEmpty }
            let leaderless = try await world.kafka.leaderless(of: world.topic)
            let others = Set((0..<6).map(Int32.init)).subtracting(leaderless)
            try #require(leaderless.count == 2)

            let before = try await world.offsets()
            var watch = IdleWatch(world, partitions: others)
            let second = try await world.worker("second")
            for worker in [first, second] { try await world.hasPartitions(worker, 3) }
            try await world.progress(4_000)
            let joined = try await watch.stop("leaderless: a second worker joins")

            watch = IdleWatch(world, partitions: others)
            try #require(try await first.terminate() == .exited(0))
            first = try await world.worker("first")
            for worker in [first, second] { try await world.hasPartitions(worker, 3) }
            try await world.progress(4_000)
            let restarted = try await watch.stop("leaderless: a worker is restarted")
            let after = try await world.offsets()
            for partition in leaderless { try #require(after[partition] == before[partition]) }

            try await world.kafka.start()
            try await load.stopped()
            try await world.expectExact()
            try #require(max(joined, restarted) < .seconds(5))
        }
    }

    /// Two workers are restarted one after the other, under load.
    @Test(arguments: [true, false]) func aRollingRestartLeavesNoPartitionIdleForLong(isStatic: Bool) async throws {
        let members = isStatic ? "static" : "dynamic"
        try await World.run("rolling-\(members)", partitions: 6, replicas: 3) { world in
            func settings(_ name: String) -> [String: String] {
                var settings = ["SLUICE_KAFKA_SESSION_TIMEOUT": "10s"]
                if isStatic { settings["SLUICE_KAFKA_GROUP_INSTANCE_ID"] = name }
                return settings
            }
            var workers: [String: Worker] = [:]
            for name in ["a", "b"] { workers[name] = try await world.worker(name, settings(name)) }
            for worker in workers.values { try await world.hasPartitions(worker, 3) }
            let load = try world.load(LoadPlan(rate: 3_000))
            try await world.progress(3_000)
            // A machine that is busy with something else may need a second attempt; what takes so long by itself fails both.
            var longest = Duration.seconds(3)
            for _ in 0..<2 where longest >= .seconds(3) {
                let watch = IdleWatch(world)
                for name in ["a", "b"] {
                    try #require(try await workers[name]?.terminate() == .exited(0))
                    workers[name] = try await world.worker(name, settings(name))
                    for worker in workers.values { try await world.hasPartitions(worker, 3) }
                    try await world.progress(3_000)
                }
                longest = try await watch.stop("rolling: two workers restarted, \(members) members")
            }
            try await load.stopped()
            try await world.expectExact()
            if isStatic { try #require(longest < .seconds(3)) }
        }
    }
}
