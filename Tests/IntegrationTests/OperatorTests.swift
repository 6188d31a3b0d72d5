// Tests an operator pause over HTTP, with a real Kafka.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// A paused partition makes no progress while the others do: also after a restart of its worker, and on a worker that joins.
    /// Resumed, it continues at the same offset.
    @Test func anOperatorPauseLastsUntilTheResume() async throws {
        try await World.run("operator", partitions: 4) { world in
            let token = ["SLUICE_HTTP_ADMIN_TOKEN": "0123456789abcdef", "SLUICE_PIPELINE_PAUSE_INTERVAL": "500ms"]
            let first = try await world.worker("first", role: "all", ["SLUICE_HTTP_ADMIN_ON_LOOPBACK": "true"])
            try await first.expectDocumentedMetrics()
            let load = try world.load(LoadPlan(rate: 3_000))
            try await world.progress(3_000)

            let pause = #"{"topic": "\#(world.topic)", "partition": 2, "reason": "bad rows"}"#
            let paused = try await first.post("/admin/pause", pause)
            try #require(paused.status == 200, "\(paused.body)")
            try #require(paused.body.contains("bad rows"))
            try await world.reached("no record of the partition is in flight") {
                try await first.get("/metrics").body.contains(
                    #"sluice_partition_paused_by_operator{topic="\#(world.topic)",partition="2"} 1"#)
            }
            let offset = try await world.pausedOffset(partition: 2)
            let ready = try await first.get("/readyz")
            try #require(ready.status == 200)
            try #require(ready.body.contains("paused_by_operator") && ready.body.contains("bad rows"))
            try await world.progress(3_000)
            try #require(try await world.offsets()[2] == offset)

            // The next worker of the group does not read it either.
            try #require(try await first.terminate() == .exited(0))
            let again = try await world.worker("first", token)
            try await world.hasPartitions(again, 4)
            try await world.progress(3_000)
            let second = try await world.worker("second", token)
            try await world.hasPartitions(second, 2)
            try await world.hasPartitions(again, 2)
            try await world.progress(3_000)
            try #require(try await world.offsets()[2] == offset)

            // Resumed through any worker of the group.
            try #require(try await second.post("/admin/resume", "{}").status == 401)
            let resumed = try await second.post("/admin/resume", "{}", token: "0123456789abcdef")
            try #require(resumed.status == 200)
            try #require(resumed.body == #"{"paused":[]}"#)
            try await world.reached("the partition continues") { try await world.offsets()[2] ?? 0 > offset }
            try await load.stopped()
            try await world.expectExact()
            for worker in [again, second] {
                try #require(try await worker.metric("sluice_partition_paused_by_operator") == 0)
            }
        }
    }
}

extension World {
    /// The applied offset of a paused partition, once it does not change any more.
    fileprivate func pausedOffset(partition: Int32) async throws -> Int64 {
        try await reached("partition \(partition) makes no progress") {
            let before = try await self.offsets()[partition] ?? 0
            try await Task.sleep(for: .milliseconds(500))
            return try await self.offsets()[partition] ?? 0 == before
        }
        return try await offsets()[partition] ?? 0
    }
}
