// Tests that a topic that was deleted and created again is noticed, also where its new log is longer than the stored offsets.

import Foundation
import TestSupport
import Testing

extension World {
    /// Deletes the topic, creates it again, and produces more records to each partition than the old log had.
    func makeTopicAnew(_ events: Int) async throws {
        let before = try await ends()
        try await kafka.delete(topic)
        try await kafka.create([(topic, partitions)])
        try await load(LoadPlan(events: events, base: 100_000, mix: "1:0:0")).finished()
        let after = try await ends()
        try #require(before.allSatisfy { $0.value < after[$0.key] ?? 0 }, "the new log is not longer: \(before), \(after)")
    }

    /// Waits until all partitions are stopped, and checks that no record of the new log was applied.
    func expectAllStopped(_ worker: Worker) async throws {
        let partitions = Double(partitions)
        try await reached("the partitions are stopped", within: .seconds(60)) {
            try await worker.metric("sluice_partition_stopped") == partitions
        }
        let readiness = try await worker.get("/readyz")
        try #require(readiness.status == 503 && readiness.body.contains("deleted and created again"), "\(readiness.body)")
        try #require(try await number("SELECT count(*) FROM messages WHERE message_id >= 100000") == 0)
    }
}

extension EndToEnd {
    /// While no worker runs. `stop` keeps it from being read, `earliest` reads all of the new log.
    @Test func aTopicMadeAnewWhileTheWorkerIsDown() async throws {
        try await World.run("anew-down", partitions: 2) { world in
            var worker = try await world.worker("worker")
            try await world.load(LoadPlan(events: 400)).finished()
            try await world.expectExact()
            try #require(try await worker.terminate() == .exited(0))
            try await world.makeTopicAnew(1_000)

            worker = try await world.worker("worker")
            try await world.expectAllStopped(worker)
            try #require(try await worker.terminate() == .exited(0))

            try await world.sql("TRUNCATE messages, messages_cdc")
            worker = try await world.worker("worker", ["SLUICE_KAFKA_OFFSET_OUT_OF_RANGE": "earliest"])
            try await world.expectExact()
            try #require(worker.process.output.contains("Partition does not continue at its stored offset"))
            // Nothing is wrong with the new log from then on.
            try #require(try await worker.terminate() == .exited(0))
            worker = try await world.worker("worker")
            try await world.hasPartitions(worker, 2)
            try await world.load(LoadPlan(events: 100, base: 200_000, mix: "1:0:0")).finished()
            try await world.expectExact()
        }
    }

    /// While a worker runs, and is filled at once.
    @Test func aTopicMadeAnewWhileTheWorkerRuns() async throws {
        try await World.run("anew-running", partitions: 2) { world in
            let worker = try await world.worker("worker")
            try await world.load(LoadPlan(events: 400)).finished()
            try await world.expectExact()
            try await world.makeTopicAnew(1_000)
            try await world.expectAllStopped(worker)
        }
    }

    /// librdkafka does not destroy a client that has read a topic which does not exist any more, but the client leaves its group.
    @Test func aWorkerOfADeletedTopicLeavesItsGroup() async throws {
        try await World.run("deleted", partitions: 2) { world in
            let worker = try await world.worker("worker")
            try await world.load(LoadPlan(events: 400)).finished()
            try await world.expectExact()
            try await world.kafka.delete(world.topic)
            try await world.reached("the deletion is noticed", within: .seconds(60)) {
                worker.process.output.contains("topic does not exist any more")
            }
            try #require(try await worker.terminate() == .exited(0))
            try #require(worker.process.output.contains("Consumer group left."))
            try #require(!worker.process.output.contains("did not leave the group"), "\(worker.process.output)")
        }
    }

    /// While a worker stands still: its client meets nothing but the new log.
    @Test func aTopicMadeAnewWhileTheWorkerStandsStill() async throws {
        try await World.run("anew-frozen", partitions: 2) { world in
            let worker = try await world.worker("worker", ["SLUICE_KAFKA_SESSION_TIMEOUT": "45s"])
            try await world.load(LoadPlan(events: 400)).finished()
            try await world.expectExact()
            worker.process.signal(SIGSTOP)
            let frozen = ContinuousClock.now
            try await world.makeTopicAnew(1_000)
            // Longer than what the consumer takes for an ordinary pause of its thread.
            try await Task.sleep(until: frozen + .seconds(3), clock: .continuous)
            worker.process.signal(SIGCONT)
            try await world.expectAllStopped(worker)
        }
    }
}
