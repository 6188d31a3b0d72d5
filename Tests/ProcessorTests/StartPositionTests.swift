// Proves at which offset a partition starts, and that no record is skipped without an error in the log.

import Testing

@testable import sluice

@Suite struct StartPositionTests {
    private func decide(
        stored: Int64?, committed: Int64? = nil, _ beginning: Int64 = 100, _ end: Int64 = 200, isOtherLog: Bool = false,
        reset: OffsetReset = .earliest, firstStart: FirstStart = .committed, outOfRange: OutOfRange = .stop
    ) -> StartPosition.Decision {
        StartPosition.decide(
            .init(stored: stored, committed: committed, beginning: beginning, end: end, isOtherLog: isOtherLog), reset: reset,
            firstStart: firstStart, outOfRange: outOfRange)
    }

    @Test func theStoredOffsetWins() {
        #expect(decide(stored: 150, committed: 180) == .start(150, replacesStored: false, skipped: nil))
        // Retention has deleted the record before it: that one is forgotten, so that the next claim does not ask for it.
        #expect(decide(stored: 100) == .start(100, replacesStored: true, skipped: nil))
        #expect(decide(stored: 200) == .start(200, replacesStored: false, skipped: nil))
    }

    @Test func thenTheCommittedOffsetThenTheReset() {
        #expect(decide(stored: nil, committed: 180) == .startCommitted(180, before: 80))
        #expect(decide(stored: nil) == .start(100, replacesStored: false, skipped: nil))
        #expect(decide(stored: nil, reset: .latest) == .start(200, replacesStored: false, skipped: nil))
        guard case .hold(let reason) = decide(stored: nil, reset: .error) else {
            Issue.record("error must hold")
            return
        }
        #expect(reason.contains("auto_offset_reset"))
    }

    /// auto_offset_reset is for the group's first start: what was produced before the group noticed the partition must not be lost.
    @Test(arguments: OffsetReset.allCases) func anAddedPartitionBeginsAtItsBeginning(reset: OffsetReset) {
        let added = StartPosition.Offsets(stored: nil, committed: nil, beginning: 100, end: 200, isTopicKnown: true)
        let decision = StartPosition.decide(added, reset: reset, outOfRange: .stop)
        if case .hold = decision {
            // It may have been held at the first start, while others began.
            #expect(reset == .error)
        } else {
            #expect(reset != .error && decision == .startAdded(100))
        }
        let read = StartPosition.Offsets(stored: 150, committed: nil, beginning: 100, end: 200, isTopicKnown: true)
        #expect(
            StartPosition.decide(read, reset: reset, outOfRange: .stop) == .start(150, replacesStored: false, skipped: nil))
    }

    /// A new database under a group that Kafka knows.
    @Test(arguments: OffsetReset.allCases) func aFirstStartAtACommittedOffset(reset: OffsetReset) {
        #expect(decide(stored: nil, committed: 100, reset: reset) == .startCommitted(100, before: 0))
        for committed in [50 as Int64, 180, 300] {
            #expect(
                decide(stored: nil, committed: committed, reset: reset, firstStart: .earliest)
                    == .start(100, replacesStored: false, skipped: nil))
        }
        // What is stored counts.
        #expect(
            decide(stored: 150, committed: 180, reset: reset, firstStart: .earliest)
                == .start(150, replacesStored: false, skipped: nil))
    }

    @Test(arguments: [100 as Int64, 150, 200]) func anotherLogIsLikeAnOffsetOutsideOfTheLog(stored: Int64) {
        guard case .hold(let reason) = decide(stored: stored, isOtherLog: true) else {
            Issue.record("stop must hold")
            return
        }
        #expect(reason.contains("\(stored)") && reason.contains("created again") && reason.contains("kafka.offset_out_of_range"))
        for (policy, offset) in [(OutOfRange.earliest, 100 as Int64), (.latest, 200)] {
            guard
                case .start(offset, replacesStored: true, skipped: .some) = decide(
                    stored: stored, isOtherLog: true, outOfRange: policy)
            else {
                Issue.record("\(policy) must continue at \(offset) and say so")
                continue
            }
        }
    }

    @Test(arguments: [50 as Int64, 201])
    func anOffsetOutsideOfTheLogIsReported(stored: Int64) {
        guard case .hold(let reason) = decide(stored: stored) else {
            Issue.record("stop must hold")
            return
        }
        #expect(reason.contains("\(stored)") && reason.contains("kafka.offset_out_of_range"))
        for (policy, offset) in [(OutOfRange.earliest, 100 as Int64), (.latest, 200)] {
            guard case .start(offset, replacesStored: true, skipped: .some) = decide(stored: stored, outOfRange: policy) else {
                Issue.record("\(policy) must continue at \(offset) and say so")
                continue
            }
        }
        // The same holds for a committed offset.
        guard case .hold = decide(stored: nil, committed: stored) else {
            Issue.record("a committed offset outside of the log must hold, too")
            return
        }
    }
}
