// Tests a database that hangs during a backlog: bounded memory, no rebalance, and the backlog applied afterwards.

import Foundation
import Postgres
import TestSupport
import Testing

extension EndToEnd {
    /// All processes of the server are stopped for 20 s with 500,000 events; with `SLUICE_TEST_FREEZE=full` for 60 s with
    /// 5,000,000.
    @Test func theDatabaseStandsStill() async throws {
        try await World.run("frozen-database", partitions: 8, onServerOfItsOwn: true) { world in
            let isFull = ProcessInfo.processInfo.environment["SLUICE_TEST_FREEZE"] == "full"
            let events = isFull ? 5_000_000 : 500_000
            let patience = Duration.seconds(isFull ? 1_200 : 240)
            // The load checks whether its ids are free, before there is a worker that would create the tables.
            try await world.sql { session in
                _ = try MigrationRunner().apply(session, TestPostgres.migrationSets())
            }
            let load = try world.verifiedLoad(LoadPlan(events: events, keys: 100_000))
            // A broker with so much work may not answer for a moment.
            let isFilled = await eventually(within: patience, every: .milliseconds(500)) {
                (try? await world.ends().values.reduce(0, +)) == Int64(events)
            }
            try #require(isFilled, "the backlog is not in the log: \(load.process.output.suffix(500))")
            // Shorter than the database stands still, longer than a busy machine does.
            let worker = try await world.worker("worker", ["SLUICE_KAFKA_SESSION_TIMEOUT": "10s"])
            try await world.hasPartitions(worker, 8)
            try await world.progress(10_000)
            let rebalances = try await worker.metric("sluice_rebalances_total")

            let memory = try await world.frozen {
                let memory = try await worker.watchedMemory(for: .seconds(isFull ? 60 : 20))
                let used = try await worker.metric("sluice_memory_used_bytes")
                let budget = try await worker.metric("sluice_memory_budget_bytes")
                try #require(used > 0 && used <= budget, "\(used) of \(budget) bytes are used")
                return memory
            }
            try #require(try await worker.metric("kafka_consumergroup_lag") > 0, "the backlog was too small")
            try await load.finished(within: patience)
            try #require(load.process.output.contains("VERIFIED"))

            print("frozen-database: resident \(memory)")
            try memory.require(budgetMebibytes: 64)
            try #require(worker.process.ending == nil)
            try #require(try await worker.metric("sluice_rebalances_total") == rebalances)
            // Every change of the group's members since its first one would have increased the generation.
            var generations = try await world.generations()
            // The tool gives up after five seconds, in which it may not have got a record.
            for _ in 0..<3 where generations.isEmpty { generations = try await world.generations() }
            try #require(generations.last == 1, "generations in the broker's log: \(generations)")
            try await world.expectAllResumed(worker)
        }
    }

    /// The server is stopped whenever no partition is paused, and continued whenever some are, under constant load.
    @Test func theDatabaseStandsStillAgainAndAgain() async throws {
        try await World.run("frozen-again", partitions: 6, onServerOfItsOwn: true) { world in
            let worker = try await world.worker("worker", ["SLUICE_PIPELINE_PAUSE_DWELL": "1s"])
            try await world.hasPartitions(worker, 6)
            let load = try world.verifiedLoad(LoadPlan(keys: 20_000), ["--max-lag", "200000"])
            for _ in 0..<5 {
                try await world.progress(10_000)
                try await world.reached("no partition is paused", within: .seconds(60)) {
                    try await worker.metric("sluice_partition_paused") == 0
                }
                let before = try await worker.metric("sluice_partition_pauses_total")
                try await world.frozen {
                    try await world.reached("partitions are paused", within: .seconds(60)) {
                        try await worker.metric("sluice_partition_pauses_total") > before
                    }
                }
            }
            try await world.progress(10_000)
            try await load.stopped(within: .seconds(240))
            try #require(load.process.output.contains("VERIFIED"))
            try await world.expectAllResumed(worker)
            let (paused, resumed) = (
                try await worker.metric("sluice_partition_pauses_total"),
                try await worker.metric("sluice_partition_resumes_total")
            )
            print("frozen-again: \(paused) pauses, \(resumed) resumes")
            try #require(paused >= 5)
        }
    }
}

extension World {
    /// A load that compares the tables with its own model when everything is applied.
    fileprivate func verifiedLoad(_ plan: LoadPlan, _ extra: [String] = []) throws -> Load {
        try load(
            plan, ["--verify", "--postgres", database, "--group", group, "--verify-timeout", "1200"] + extra)
    }

    /// Waits until everything is applied and no partition is paused; each pause must have been followed by a resume.
    fileprivate func expectAllResumed(_ worker: Worker) async throws {
        try await reached("no partition is paused") { try await worker.metric("sluice_partition_paused") == 0 }
        try await reached("no lag is left") { try await worker.metric("kafka_consumergroup_lag") == 0 }
        let pauses = try await worker.metric("sluice_partition_pauses_total")
        try #require(pauses > 0, "no partition was ever paused")
        try #require(try await worker.metric("sluice_partition_resumes_total") == pauses)
    }

    /// The group's generations in the broker's log, one for each change of its members.
    fileprivate func generations() async throws -> [Int] {
        let text = try await kafka.tool(
            "kafka-console-consumer.sh",
            [
                "--bootstrap-server", kafka.bootstrapServers, "--topic", "__consumer_offsets", "--from-beginning",
                "--timeout-ms", "5000", "--formatter", "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter",
            ])
        return text.components(separatedBy: #"{"group":"\#(group)"}"#).dropFirst().compactMap { rest in
            rest.range(of: #""generation":"#).flatMap { Int(rest[$0.upperBound...].prefix { $0.isNumber }) }
        }
    }
}

/// Memory of a process over time, in MiB.
private struct MemoryWatch: CustomStringConvertible {
    var resident: [Double] = []

    var description: String {
        "\(Int(resident.min() ?? 0)) to \(Int(resident.max() ?? 0)) MiB, at the end \(Int(resident.last ?? 0)) MiB"
    }

    /// Below the budget plus 80 MiB for the program itself, and constant in the second half.
    func require(budgetMebibytes: Double, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let late = resident.suffix(resident.count / 2)
        let (least, most) = (late.min() ?? 0, late.max() ?? 0)
        try #require(least > 0 && resident.allSatisfy { $0 < budgetMebibytes + 80 }, "\(self)", sourceLocation: sourceLocation)
        try #require(most - least < 8, "it grows from \(least) to \(most) MiB", sourceLocation: sourceLocation)
    }
}

extension Worker {
    /// Samples the memory four times a second, for this duration.
    fileprivate func watchedMemory(for duration: Duration) async throws -> MemoryWatch {
        var watch = MemoryWatch()
        let end = ContinuousClock.now + duration
        while ContinuousClock.now < end {
            let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            guard let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Double($0) }) else {
                throw Trouble("process \(process.pid) has no VmRSS")
            }
            watch.resident.append(kibibytes / 1024)
            try await Task.sleep(for: .milliseconds(250))
        }
        return watch
    }
}
