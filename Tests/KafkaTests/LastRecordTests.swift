// Proves that a partition whose log has another record before its position than the one that was applied there is not read.

import Records
import TestSupport
import Testing

@testable import Kafka

@Suite struct LastRecordMachineTests {
    private static let record = LastRecordMachine.Record(offset: 9, fingerprint: 77)

    @Test func theRecordIsComparedOnce() {
        var machine = LastRecordMachine(Self.record)
        #expect(machine.isAwaited == true)
        #expect(machine.begin(before: 10) == 9)
        // Left over from before.
        #expect(machine.observed(4) == .drop)
        #expect(machine.ended(at: 5) == .drop)
        #expect(machine.observed(9) == .compare(fingerprint: 77))
        #expect(machine.isAwaited == false)
        #expect(machine.begin(before: 10) == 10)
    }

    @Test func nothingIsComparedWhereNothingIsKnown() {
        let machine = LastRecordMachine()
        #expect(machine.isAwaited == false)
        #expect(machine.begin(before: 10) == 10)
    }

    /// Compaction may have removed it. As after each begin, the first thing from beyond is sought once.
    @Test func aRecordThatIsGoneIsPassed() {
        var machine = LastRecordMachine(Self.record)
        #expect(machine.observed(12) == .seek(to: 9))
        #expect(machine.observed(12) == .pass)
        #expect(machine.isAwaited == false)
        machine.restarted()
        #expect(machine.isAwaited == false, "it was not forgotten")

        machine = LastRecordMachine(Self.record)
        #expect(machine.ended(at: 10) == .seek(to: 9))
        #expect(machine.ended(at: 10) == .pass)

        // The first seek had been ignored.
        machine = LastRecordMachine(Self.record)
        #expect(machine.observed(12) == .seek(to: 9))
        #expect(machine.observed(9) == .compare(fingerprint: 77))
    }

    /// A log that ends before the record is too short, or that of a follower that lags: the broker tells.
    @Test func anEndBeforeTheRecordIsProbed() {
        var machine = LastRecordMachine(Self.record)
        #expect(machine.ended(at: 9) == .seek(to: 10))
        #expect(machine.isAwaited == true)
        // It goes on: the record can be compared now.
        #expect(machine.ended(at: 10) == .seek(to: 9))
        #expect(machine.observed(9) == .compare(fingerprint: 77))

        machine = LastRecordMachine(Self.record)
        #expect(machine.ended(at: 9) == .seek(to: 10))
        #expect(machine.observed(11) == .seek(to: 9))
        #expect(machine.observed(11) == .seek(to: 9))
        #expect(machine.observed(11) == .pass)
    }

    @Test func aRestartComparesTheRecordThatWasTakenLast() {
        var machine = LastRecordMachine(Self.record)
        #expect(machine.observed(9) == .compare(fingerprint: 77))
        machine.restarted()
        #expect(machine.begin(before: 10) == 9)
        machine.taken(LastRecordMachine.Record(offset: 19, fingerprint: 5))
        #expect(machine.isAwaited == false)
        machine.restarted()
        // Transaction markers are between it and the position.
        #expect(machine.begin(before: 23) == 19)
        #expect(machine.observed(19) == .compare(fingerprint: 5))
        machine.taken(nil)
        machine.restarted()
        #expect(machine.isAwaited == false)
    }
}

@Suite(.timeLimit(.minutes(1))) struct LastRecordTests {
    private static let source = TopicPartition("t", 0)

    /// A broker with a log of 100 records, and the fingerprint of each.
    private func world() async throws -> (broker: EmbeddedBroker, fingerprints: [Int64]) {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        try await fill(broker, partitions: 1, count: 100)
        var driver = Driver(
            try KafkaConsumer.start(consumerConfiguration(broker, group: "first"), limit: TestCredits(unlimited: true)))
        var fingerprints: [Int64] = []
        while fingerprints.count < 100 {
            guard let batch = try await driver.step() else { continue }
            fingerprints += batch.records.map { batch.fingerprint(of: $0) }
        }
        _ = await driver.consumer.close(deadline: .seconds(30))
        return (broker, fingerprints)
    }

    /// The fingerprint that was not found, and the reason.
    private func otherLog(_ driver: inout Driver) async throws -> (Int64, String) {
        while true {
            switch try await driver.next() {
            case .otherLog(Self.source, let fingerprint, _, let reason): return (fingerprint, reason)
            case .partitionFailed(_, let error, _): return (0, error.code.rawValue)
            case .records(let batch): throw TimedOut(description: "\(batch.records[0].offset) was read")
            case let event: driver.handle(event)
            }
        }
    }

    @Test func theLogThatWasReadGoesOnBehindTheRecord() async throws {
        let (broker, fingerprints) = try await world()
        defer { broker.stop() }
        #expect(Set(fingerprints).count == 100)
        var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits(unlimited: true)))
        driver.positions[Self.source] = 50
        driver.lastApplied[Self.source] = fingerprints[49]
        var next: Int64 = 50
        while next < 100 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records[0].offset == next)
            next = batch.nextOffset
        }
        // A pause ends where the log is still the same.
        driver.consumer.pause([Self.source])
        driver.consumer.resume([Self.source])
        try await fill(broker, partitions: 1, count: 3)
        while next < 103 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records[0].offset == next)
            next = batch.nextOffset
        }
        #expect(driver.others.isEmpty, "\(driver.others)")
        #expect(driver.consumer.statistics.reseeks == 0 && driver.consumer.statistics.gaps == 0)
        #expect(driver.consumer.statistics.records == 53)
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    /// In an assignment and at a seek, and also for the last record of the log.
    @Test func anotherLogIsNotRead() async throws {
        let (broker, fingerprints) = try await world()
        defer { broker.stop() }
        var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits(unlimited: true)))
        driver.positions[Self.source] = 50
        driver.lastApplied[Self.source] = fingerprints[48]
        let first = try await otherLog(&driver)
        #expect(first.0 == fingerprints[48])
        #expect(first.1.contains("t[0]") && first.1.contains("49"), "\(first)")

        driver.consumer.seek(Self.source, to: 100, lastApplied: fingerprints[0], generation: 2)
        #expect(try await otherLog(&driver).1.contains("99"))

        // The log is too short: the broker says so.
        driver.consumer.seek(Self.source, to: 101, lastApplied: fingerprints[0], generation: 3)
        #expect(try await otherLog(&driver) == (0, KafkaError.Code.offsetOutOfRange.rawValue))

        driver.consumer.seek(Self.source, to: 98, lastApplied: fingerprints[97], generation: 4)
        var next: Int64 = 98
        while next < 100 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records[0].offset == next && batch.generation == 4)
            next = batch.nextOffset
        }
        _ = await driver.consumer.close(deadline: .seconds(30))
    }
}
