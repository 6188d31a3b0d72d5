// Proves that partitions of equal backlog drain at the same rate, and that one with a huge backlog does not delay others.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

/// Credits of several transactions a partition: only batches that wait in a lane can be ordered unfairly.
private func roomy(lanes: Int) -> PipelineConfiguration {
    var configuration = PipelineConfiguration()
    configuration.lanes = lanes
    // Whole batches of the fake reader: no partition writes smaller ones than others because of where its credits end.
    configuration.budget = Credits(records: 8 * 1_024, bytes: 8 << 20)
    configuration.partitionRecords = 1_024
    configuration.batch = Credits(records: 120, bytes: 1 << 20)
    configuration.tick = 2_000_000
    configuration.lagInterval = 5_000_000
    return configuration
}

/// A database with a delay for each transaction and for each row.
private let slowly: @Sendable ([PartitionBatches], Int) async throws -> ApplyResult? = { work, _ in
    let rows = work.reduce(0) { $0 + $1.batches.reduce(0) { $0 + $1.records.count } }
    try await Task.sleep(nanoseconds: 1_000_000 + UInt64(rows) * 20_000)
    return nil
}

extension World {
    fileprivate func applied() -> [TopicPartition: Int64] {
        database.state.withLock { $0.offsets.mapValues(\.next) }
    }

    /// The rest of each partition's backlog when each quarter of all records is applied, or read.
    fileprivate func quarters(read: Bool = false) async -> [[TopicPartition: Int64]] {
        @Sendable func applied() -> [TopicPartition: Int64] { read ? source.positions : self.applied() }
        let total = ends.values.reduce(0, +)
        var samples: [[TopicPartition: Int64]] = []
        for quarter in 1...3 {
            let goal = total * Int64(quarter) / 4
            _ = await eventually(within: .seconds(60), every: .milliseconds(1)) { applied().values.reduce(0, +) >= goal }
            let now = applied()
            samples.append(ends.reduce(into: [:]) { $0[$1.key] = $1.value - now[$1.key, default: 0] })
        }
        return samples
    }

    /// Appends a record and waits until it is applied, repeatedly. Returns how many records of another partition were applied in between,
    /// each time: as the database counted them, since the waiting task may resume late.
    fileprivate func probe(_ source: TopicPartition, against other: TopicPartition, times: Int) async -> [Int64] {
        var passed: [Int64] = []
        for _ in 0..<times {
            let before = database.state.withLock { $0.written.count }
            let offset = self.source.append(1, to: source)
            let isApplied = await eventually(within: .seconds(30), every: .milliseconds(1)) {
                applied()[source] ?? 0 > offset
            }
            #expect(isApplied, "\(source) is starved")
            let since = database.state.withLock { $0.written[before...] }
            let own = since.firstIndex { $0[source] != nil } ?? since.endIndex - 1
            passed.append(since[...own].reduce(0) { $0 + ($1[other] ?? 0) })
        }
        return passed.sorted()
    }
}

@Suite(.timeLimit(.minutes(3))) struct FairnessTests {
    @Test func equalBacklogsDrainAtTheSameRate() async throws {
        let decoded = Shared(0)
        let isOpen = Shared(false)
        let world = World(
            seed: 1, partitions: 8, records: 1_536, configuration: roomy(lanes: 2),
            executors: Executors(decoding: { decoded.withLock { $0 += 1 } })
        ) { work, attempt in
            while !isOpen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return try await slowly(work, attempt)
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            // From here on each has a batch in every round, however late this machine lets the reader run.
            #expect(await eventually { decoded.current == 8 * 1_024 / 64 }, "not all credits are used")
            isOpen.withLock { $0 = true }
            var before = world.ends
            for (quarter, left) in await world.quarters().enumerated() {
                let values = left.values.sorted()
                print("left at quarter \(quarter + 1): \(values)")
                // On one lane they differ by a round, one of the fake reader's batches, and by the one that was written before the others
                // had arrived; lanes share only the clock.
                for lane in 0..<2 {
                    let own = left.filter { EventPipeline.lane(of: $0.key, among: 2) == lane }.values
                    #expect(own.max()! - own.min()! <= 2 * 64, "the partitions of lane \(lane) drift apart: \(left)")
                }
                #expect(Double(values.last!) <= 1.5 * Double(values.first!) + 240, "the lanes drift apart: \(left)")
                // Where the sample comes late, all of a partition may have been applied before the former one.
                #expect(
                    left.allSatisfy { $0.value < before[$0.key]! || before[$0.key] == 0 },
                    "someone stood still: \(before), then \(left)")
                before = left
            }
            #expect(await eventually(within: .seconds(60)) { world.isComplete })
        }
        #expect(world.isExact)
    }

    @Test func aHugeBacklogDoesNotDelayOthersOnTheSameLane() async throws {
        let hot = TopicPartition("t", 0)
        let world = World(
            seed: 2, partitions: 3, records: 200, configuration: roomy(lanes: 1), backlogs: [hot: 20_000], plan: slowly)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            let small = TopicPartition("t", 1)
            #expect(await eventually { world.applied()[small] == 200 })
            let passed = await world.probe(small, against: hot, times: 40)
            print("records of the huge backlog that passed another partition's: \(passed)")
            // The transaction under way and the one it is in: 240. First come, first served it would be the account's 1,000 before.
            #expect(passed[passed.count / 2] <= 360)
            #expect(passed.last! < 1_000)
        }
        #expect(world.isExact)
    }

    @Test func aLimitIsSharedByPartitionsThatCanUseIt() async throws {
        let hot = TopicPartition("t", 5)
        let world = World(
            seed: 3, partitions: 8, records: 0, configuration: roomy(lanes: 2), backlogs: [hot: 100_000],
            limits: ConsumeLimits(all: .init(events: 2_000)))
        let begun = world.clock.now
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.applied()[hot] ?? 0 >= 200 })
            let passed = await world.probe(TopicPartition("t", 2), against: hot, times: 30)
            print("records of the huge backlog that passed another partition's under a limit: \(passed)")
            // A quantum is 100 records; the other partition is next.
            #expect(passed[passed.count / 2] <= 200)
            #expect(passed.last! <= 500)
            let seconds = Double(world.clock.now - begun) / 1e9
            #expect(Double(world.applied().values.reduce(0, +)) <= 200 + 2_000 * seconds)
            #expect(world.source.pauseCounts.pauses == 0, "a partition that waits for the limit is not starved")
        }
        #expect(world.isExact)
    }

    @Test func equalBacklogsUnderALimitDrainAtTheSameRate() async throws {
        let world = World(
            seed: 4, partitions: 8, records: 1_500, configuration: roomy(lanes: 3),
            limits: ConsumeLimits(all: .init(events: 4_000), topics: ["t": .init(bytes: 1 << 20)]))
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            // Records read: a limit slows readers, while lanes share only the clock.
            for left in await world.quarters(read: true) {
                let values = left.values.sorted()
                print("left under a limit: \(values)")
                // Three reads of 64 records, the fake reader's largest batch.
                #expect(values.last! - values.first! <= 256)
            }
            #expect(await eventually(within: .seconds(60)) { world.isComplete })
        }
        #expect(world.isExact)
    }
}
