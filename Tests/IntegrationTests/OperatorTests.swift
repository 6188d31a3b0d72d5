// An operator pauses a partition of a running worker, over HTTP, on a real Kafka.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// A paused partition stands while the others go on: through a restart of its worker, and on a worker that joins; resumed, it goes
    /// on where it stood.
    @Test func whatAnOperatorPausesStandsUntilItIsResumed() async throws {
        try await World.run("operator", partitions: 4) { world in
            let token = ["SLUICE_HTTP_ADMIN_TOKEN": "0123456789abcdef", "SLUICE_PIPELINE_PAUSE_INTERVAL": "500ms"]
            let first = try await world.worker("first")
            let load = try world.load(LoadPlan(rate: 3_000))
            try await world.progress(3_000)

            let pause = #"{"topic": "\#(world.topic)", "partition": 2, "reason": "bad rows"}"#
            let paused = try await first.post("/admin/pause", pause)
            try #require(paused.status == 200, "\(paused.body)")
            try #require(paused.body.contains("bad rows"))
            try await world.reached("nothing of the partition is under way") {
                try await first.get("/metrics").body.contains(
                    #"sluice_partition_paused_by_operator{topic="\#(world.topic)",partition="2"} 1"#)
            }
            let stands = try await world.standing(partition: 2)
            let ready = try await first.get("/readyz")
            try #require(ready.status == 200)
            try #require(ready.body.contains("paused_by_operator") && ready.body.contains("bad rows"))
            try await world.progress(3_000)
            try #require(try await world.offsets()[2] == stands)

            // The next worker of the group reads nothing of it either.
            try #require(try await first.terminate() == .exited(0))
            let again = try await world.worker("first", token)
            try await world.holds(again, 4)
            try await world.progress(3_000)
            let second = try await world.worker("second", token)
            try await world.holds(second, 2)
            try await world.holds(again, 2)
            try await world.progress(3_000)
            try #require(try await world.offsets()[2] == stands)

            // Resumed by way of one worker, whoever holds the partition.
            try #require(try await second.post("/admin/resume", "{}").status == 401)
            let resumed = try await second.post("/admin/resume", "{}", token: "0123456789abcdef")
            try #require(resumed.status == 200)
            try #require(resumed.body == #"{"paused":[]}"#)
            try await world.reached("the partition goes on") { try await world.offsets()[2] ?? 0 > stands }
            try await load.stopped()
            try await world.expectExact()
            for worker in [again, second] {
                try #require(try await worker.metric("sluice_partition_paused_by_operator") == 0)
            }
        }
    }
}

extension World {
    /// The offset at which a partition has come to rest.
    fileprivate func standing(partition: Int32) async throws -> Int64 {
        try await reached("partition \(partition) stands") {
            let before = try await self.offsets()[partition] ?? 0
            try await Task.sleep(for: .milliseconds(500))
            return try await self.offsets()[partition] ?? 0 == before
        }
        return try await offsets()[partition] ?? 0
    }
}
