// Tests the reload of a changed configuration: consume limits, faults, and SIGHUP.

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A consume limit is set, effective, and removed without a restart; a file with a fault changes nothing; SIGHUP does not end
    /// the process.
    @Test func limitsChangeWhileTheWorkerRuns() async throws {
        try await World.run("reload", partitions: 4) { world in
            let load = try world.load(LoadPlan(events: 30_000))
            try await load.finished()
            let file = try world.configuration()
            let text = try String(contentsOfFile: file, encoding: .utf8)
            func write(_ more: String) throws {
                try (text + more + "\n").write(toFile: file, atomically: true, encoding: .utf8)
            }
            func generation(_ number: Double, _ worker: Worker) async throws {
                try await world.reached("generation \(number)") {
                    try await worker.metric("sluice_config_generation") == number
                }
            }
            // The start has written the file again; the first change comes before the group has formed.
            let worker = try await world.worker("worker")
            try write("limits: {consume: {events_per_second: 300}}")
            worker.process.signal(SIGHUP)
            try await generation(2, worker)
            try await world.hasPartitions(worker, 4)
            try await world.progress(100)
            // What the limit allowed while the machine stood still is lost: another attempt, then.
            var isReached = false
            for _ in 0..<3 where !isReached {
                let begun = ContinuousClock.now
                let before = try await world.applied()
                try await Task.sleep(for: .seconds(4))
                let passed = try await world.applied() - before
                let seconds = (ContinuousClock.now - begun) / Duration.seconds(1)
                print("reload: \(passed) events in \(seconds) s under a limit of 300 a second")
                // 30: the bucket; 60: events that were read before the first sample and applied after it.
                try #require(Double(passed) <= 300 * seconds + 30 + 60)
                isReached = Double(passed) >= 300 * seconds * 0.6
            }
            try #require(isReached, "the limit is not reached")

            try write("limits: {consume: {events_per_second: many}}")
            worker.process.signal(SIGHUP)
            try await world.reached("the fault is logged") { worker.process.output.contains("configuration refused") }
            try #require(worker.process.output.contains("limits.consume.events_per_second: must be"))
            try #require(try await worker.metric("sluice_config_generation") == 2)
            try #require(
                try await worker.metric("sluice_partition_pauses_total") == 0,
                "a partition that waits for a rate limit is not paused")

            // Without a signal: the file is checked at an interval.
            try write("limits: {consume: {events_per_second: 0}}\npipeline: {memory_budget_bytes: 96MiB}")
            try await generation(3, worker)
            try await world.expectExact()
            try #require(worker.process.output.contains("from=300 to=0"))
            try #require(worker.process.output.contains("Setting changed in part."))
            try #require(try await worker.terminate() == .exited(0))
        }
    }
}
