// Tests the start and the end of a process.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// A topic that does not exist is waited for, and a signal ends the wait; or it ends the start with an error.
    @Test func aMissingTopicIsWaitedForOrEndsTheStart() async throws {
        try await World.run("missing-topic", partitions: 1) { world in
            for role in ["worker", "ingress"] {
                let waiting = try await world.worker("waiting-\(role)", role: role, topic: "late-topic-\(role)")
                try await world.reached("role \(role) waits") {
                    waiting.process.output.contains("Topic does not exist; waiting for it.")
                }
                let readiness = try await waiting.get("/readyz")
                try #require(readiness.status == 503 && readiness.body.contains("late-topic-\(role) does not exist"))
                try #require(try await waiting.terminate() == .exited(0), "role \(role)")
                let process = try world.launch(
                    "missing-\(role)", role: role, topic: "no-such-topic-\(role)", ["SLUICE_KAFKA_WAIT_FOR_TOPICS": "false"])
                let ending = try await process.ended(within: .seconds(60))
                try #require(ending == .exited(1), "role \(role): \(ending)")
                let last = process.output.split(separator: "\n").last.map(String.init) ?? ""
                try #require(last.contains("no-such-topic-\(role)"), "its last line: \(last)")
            }
        }
    }

    /// SIGTERM under full load: records in flight are applied, offsets committed, and the next start continues there.
    @Test func aGracefulEndUnderLoad() async throws {
        try await World.run("graceful", partitions: 6) { world in
            var worker = try await world.worker("worker")
            let load = try world.load(LoadPlan(rate: 12_000))
            for _ in 0..<2 {
                try await world.progress(3_000)
                let start = ContinuousClock.now
                try #require(try await worker.terminate(within: .seconds(25)) == .exited(0))
                print("graceful: ended in \(ContinuousClock.now - start)")
                let stored = try await world.offsets()
                let committed = try await world.committed()
                try #require(
                    stored.filter { $0.value > 0 } == committed.filter { $0.value > 0 }, "sluice_offsets and Kafka differ")
                try #require(try await world.ends().values.reduce(0, +) > stored.values.reduce(0, +), "nothing was left to apply")
                worker = try await world.worker("worker")
            }
            try await load.stopped()
            try await world.expectExact()
        }
    }
}
