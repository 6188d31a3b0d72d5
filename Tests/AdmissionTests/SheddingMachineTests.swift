// Load shedding: thresholds, hysteresis, Retry-After, and the exact share.

import Backpressure
import TestSupport
import Testing

@testable import Admission

private let second: UInt64 = 1_000_000_000
private let thousand = SheddingLimits(lagRecords: 1_000)

/// A machine with successive levels of lag.
private struct Lag: ~Copyable {
    var machine = SheddingMachine()
    var now: UInt64 = 0
    var limits: SheddingLimits

    init(_ limits: SheddingLimits = thousand) { self.limits = limits }

    /// `fall`: records that drain a second.
    mutating func next(_ level: Double?, fall: Double = 0, after seconds: Double = 100) -> SheddingDecision {
        now += UInt64(seconds * 1e9)
        var levels = SheddingLevels()
        levels[.lag] = level.map { SheddingLevel(level: $0, fall: fall) }
        return machine.levelsRead(levels, now: now, limits: limits)
    }
}

@Suite struct SheddingMachineTests {
    @Test func theShareIsLinearBetweenTheThresholdAndItsDouble() {
        var lag = Lag()
        #expect(lag.next(0) == .admitAll)
        #expect(lag.next(1_000) == .admitAll)
        for (level, share) in [(1_100.0, 0.1), (1_500, 0.5), (1_999, 0.999), (2_000, 1), (50_000, 1)] {
            let decision = lag.next(level)
            #expect(abs(decision.share - share) < 1e-9, "at \(level)")
            #expect(decision.cause == .lag)
        }
    }

    @Test func theShareStaysUntilTheLevelHasFallenByHalfAThreshold() {
        var lag = Lag()
        #expect(lag.next(1_600).share == 0.6)
        for level in [1_500.0, 1_200, 1_590, 1_101] { #expect(lag.next(level).share == 0.6, "at \(level)") }
        #expect(lag.next(1_000).share == 0.5)
        #expect(lag.next(1_400).share == 0.5, "rising within the backlash")
        #expect(abs(lag.next(1_550).share - 0.55) < 1e-9, "rising beyond it")
        #expect(abs(lag.next(600).share - 0.1) < 1e-9)
        #expect(lag.next(500) == .admitAll)
        #expect(lag.next(999) == .admitAll, "shedding starts again at the threshold")
    }

    @Test func noiseOfLessThanHalfAThresholdHasNoEffect() {
        var lag = Lag()
        _ = lag.next(1_700)
        var random = SeededRandom(seed: testSeed("noise"))
        for _ in 0..<1_000 { #expect(lag.next(1_250 + 400 * random.unit()).share == 0.7) }
    }

    @Test func theShareFallsOverTheRecoveryTime() {
        var lag = Lag()
        #expect(lag.next(3_000).share == 1)
        #expect(lag.next(0, after: 0).share == 1)
        #expect(abs(lag.next(0, after: 1).share - 0.8) < 1e-9)
        #expect(abs(lag.next(0, after: 2).share - 0.4) < 1e-9)
        // It rises at once.
        #expect(lag.next(2_000, after: 0.1).share == 1)
        _ = lag.next(0, after: 4)
        #expect(lag.next(0, after: 1) == .admitAll)
    }

    @Test func aClockThatStandsStillOrGoesBackChangesNothing() {
        var lag = Lag()
        #expect(lag.next(3_000).share == 1)
        lag.now -= 50 * second
        #expect(lag.next(0, after: 0).share == 1)
        #expect(lag.next(0, after: 50).share == 1, "not later than before")
        #expect(abs(lag.next(0, after: 1).share - 0.8) < 1e-9)
    }

    @Test func anUnknownLevelShedsNothing() {
        var lag = Lag()
        #expect(lag.next(nil) == .admitAll)
        #expect(lag.next(2_000).share == 1)
        let unknown = lag.next(nil, after: 1)
        #expect(abs(unknown.share - 0.8) < 1e-9, "falls over the recovery time")
        #expect(unknown.retryAfter == 4, "the rest of the recovery time")
        #expect(lag.next(nil, after: 4) == .admitAll)
    }

    @Test func aCauseThatIsTurnedOffIsOffAtOnce() {
        var lag = Lag()
        #expect(lag.next(2_000).share == 1)
        lag.limits.lagRecords = 0
        #expect(lag.next(2_000, after: 0) == .admitAll)
        lag.limits.lagRecords = 1_600
        #expect(lag.next(2_000, after: 0).share == 0.25)
    }

    @Test func retryAfterIsTheTimeToTheLowThresholdAtTheMeasuredRate() {
        var lag = Lag()
        #expect(lag.next(1_500, fall: 100).retryAfter == 10)
        #expect(lag.next(1_500, fall: 90).retryAfter == 12, "rounded up")
        #expect(lag.next(1_500, fall: 1).retryAfter == 60, "capped")
        #expect(lag.next(1_500, fall: 0).retryAfter == 60, "nothing drains")
        #expect(lag.next(1_500, fall: 1e9).retryAfter == 3, "the recovery time of a share of 0.5")
        lag.limits.longestRetry = 300
        #expect(lag.next(1_500, fall: 10).retryAfter == 100)
        #expect(lag.next(900, fall: 100_000).retryAfter >= 1)
    }

    @Test func theCauseWithTheLargestShareIsNamedWithTheLongestWait() {
        var machine = SheddingMachine()
        let limits = SheddingLimits(lagRecords: 1_000, lagSeconds: 10, credits: 0.2, producerQueue: 0.5, longestRetry: 100)
        var levels = SheddingLevels()
        levels[.lag] = SheddingLevel(level: 1_300, fall: 20)
        levels[.timeLag] = SheddingLevel(level: 12, fall: 1)
        levels[.credits] = SheddingLevel(level: 0.7, fall: 1)
        levels[.producerQueue] = SheddingLevel(level: 0.7, fall: 1)
        let decision = machine.levelsRead(levels, now: second, limits: limits)
        #expect(decision.cause == .producerQueue)
        #expect(abs(decision.share - 0.4) < 1e-9)
        #expect(decision.retryAfter == 40, "of the lag")
        #expect(abs(machine.share(of: .lag) - 0.3) < 1e-9)
        #expect(abs(machine.share(of: .timeLag) - 0.2) < 1e-9)
        #expect(machine.share(of: .credits) == 0)
        levels[.credits] = SheddingLevel(level: 1, fall: 1)
        let starved = machine.levelsRead(levels, now: second, limits: limits)
        #expect(starved.cause == .credits && starved.share == 1)
    }

    @Test(arguments: [0.05, 0.3, 0.5, 0.8, 0.99]) func everyQueueThresholdEndsSheddingBeforeTheQueueIsEmpty(threshold: Double) {
        var machine = SheddingMachine()
        var levels = SheddingLevels()
        levels[.producerQueue] = SheddingLevel(level: 1, fall: 1)
        let limits = SheddingLimits(producerQueue: threshold)
        #expect(machine.levelsRead(levels, now: second, limits: limits).share == 1)
        levels[.producerQueue] = SheddingLevel(level: threshold / 2, fall: 1)
        #expect(machine.levelsRead(levels, now: 100 * second, limits: limits) == .admitAll)
    }
}

/// A decision with this share.
private func decision(share: Double, retryAfter: Double = 10) -> SheddingDecision {
    var machine = SheddingMachine()
    var levels = SheddingLevels()
    let level = 1_000_000 * (1 + share)
    levels[.lag] = SheddingLevel(level: level, fall: (level - 500_000) / retryAfter)
    return machine.levelsRead(levels, now: 1, limits: SheddingLimits(lagRecords: 1_000_000, longestRetry: 600))
}

@Suite struct SheddingReadingTests {
    private func shedder(lag: Double) -> LoadShedder {
        let shedder = LoadShedder(thousand)
        var inputs = SheddingInputs()
        inputs.lag = SheddingInputs.Lag(records: lag, seconds: nil, measuredAt: second, drainRate: 0)
        shedder.evaluate(inputs, now: second)
        return shedder
    }

    /// The intervals of 10 ms in which bodies are not read.
    private func paused(_ shedder: LoadShedder, of intervals: UInt64) -> [Bool] {
        (0..<intervals).map { shedder.mustPauseReading(at: 7 * second + $0 * 10_000_000) }
    }

    @Test func bodiesAreReadInTheAdmittedShareOfTheTime() {
        #expect(paused(shedder(lag: 900), of: 50).allSatisfy { !$0 })
        #expect(paused(shedder(lag: 2_000), of: 50).allSatisfy { $0 })
        for (lag, share) in [(1_100.0, 0.1), (1_500, 0.5), (1_900, 0.9)] {
            let paused = paused(shedder(lag: lag), of: 1_000)
            let count = paused.count { $0 }
            #expect(abs(Double(count) - 1_000 * share) <= 2, "\(count) of 1000 at a share of \(share)")
            // Spread evenly: no run is much longer than its share requires.
            let longest = paused.split(separator: false).map(\.count).max() ?? 0
            #expect(Double(longest) <= share / (1 - share) * 2 + 2, "\(longest) in a row at a share of \(share)")
        }
    }

    @Test func anIntervalIsPausedAsAWhole() {
        let shedder = shedder(lag: 1_500)
        for interval in 0..<100 as Range<UInt64> {
            let start = interval * 10_000_000
            #expect(shedder.mustPauseReading(at: start) == shedder.mustPauseReading(at: start + 9_999_999))
        }
    }
}

@Suite struct RequestSamplerTests {
    @Test func nothingIsRefusedWhereNothingIsShed() {
        var sampler = RequestSamplerMachine()
        for _ in 0..<1_000 { #expect(sampler.requested(.admitAll) == nil) }
    }

    @Test func theShareIsExactAtEveryMoment() {
        var random = SeededRandom(seed: testSeed("shed share"))
        var sampler = RequestSamplerMachine()
        var due = 0.0
        var refused = 0
        // The share changes with every request.
        for _ in 0..<200_000 {
            let share = random.unit()
            let decision = decision(share: share)
            due += decision.share
            if sampler.requested(decision) != nil { refused += 1 }
            #expect(abs(due - Double(refused)) <= 1.001)
        }
        // The share is constant.
        for share in [0.001, 0.25, 0.5, 0.999, 1] {
            var sampler = RequestSamplerMachine()
            let decision = decision(share: share)
            let count = (0..<10_000).count { _ in sampler.requested(decision) != nil }
            #expect(abs(Double(count) - share * 10_000) <= 1.001, "\(count) at \(share)")
        }
    }

    @Test func alternatingClientsAreRefusedEquallyOften() {
        for clients in [2, 3, 4, 10] {
            var sampler = RequestSamplerMachine()
            let decision = decision(share: 0.5)
            var refused = [Int](repeating: 0, count: clients)
            for number in 0..<clients * 10_000 where sampler.requested(decision) != nil { refused[number % clients] += 1 }
            for count in refused { #expect(abs(count - 5_000) < 300, "\(refused)") }
        }
    }

    @Test func clientsThatAreRefusedTogetherGetDifferentTimes() {
        var sampler = RequestSamplerMachine()
        let decision = decision(share: 1, retryAfter: 20)
        #expect(decision.retryAfter == 20)
        var waits: [Int: Int] = [:]
        for _ in 0..<11_000 { waits[sampler.requested(decision)?.retryAfter ?? 0, default: 0] += 1 }
        #expect(waits.keys.min() == 20 && waits.keys.max() == 30, "never earlier, at most half as much later")
        for (wait, count) in waits { #expect(abs(count - 1_000) < 20, "\(count) after \(wait) s") }
    }

    @Test func theSameRequestsGiveTheSameDecisions() {
        func transcript() -> [SheddingRefusal?] {
            var sampler = RequestSamplerMachine()
            let decision = decision(share: 0.3)
            return (0..<1_000).map { _ in sampler.requested(decision) }
        }
        #expect(transcript() == transcript())
    }
}

@Suite struct SheddingLevelTests {
    private static func lag(_ records: Double, at: UInt64, drain: Double = 0, seconds: Double? = nil) -> SheddingInputs.Lag {
        SheddingInputs.Lag(records: records, seconds: seconds, measuredAt: at, drainRate: drain)
    }

    private static func producer(delivered: Int, inFlight: Int = 0) -> SheddingInputs.Producer {
        SheddingInputs.Producer(
            inFlight: Credits(records: inFlight, bytes: inFlight), bound: Credits(records: 1_000, bytes: 1_000),
            delivered: delivered)
    }

    @Test func recordsProducedSinceTheMeasurementCount() {
        var machine = SheddingLevelMachine()
        var inputs = SheddingInputs()
        inputs.lag = Self.lag(500, at: second)
        inputs.producer = Self.producer(delivered: 10_000)
        #expect(machine.inputsRead(inputs, now: second)[.lag]?.level == 500)
        inputs.producer = Self.producer(delivered: 10_200, inFlight: 50)
        #expect(machine.inputsRead(inputs, now: second + second / 2)[.lag]?.level == 750)
        // The next measurement contains all but the records since the last inputs.
        inputs.lag = Self.lag(760, at: 2 * second)
        inputs.producer = Self.producer(delivered: 10_300)
        #expect(machine.inputsRead(inputs, now: 2 * second)[.lag]?.level == 810)
    }

    @Test func recordsAppliedMeanwhileAreSubtracted() {
        var machine = SheddingLevelMachine()
        var inputs = SheddingInputs()
        inputs.lag = Self.lag(500, at: second, drain: 100)
        inputs.producer = Self.producer(delivered: 0)
        _ = machine.inputsRead(inputs, now: second)
        inputs.producer = Self.producer(delivered: 130)
        #expect(machine.inputsRead(inputs, now: 2 * second)[.lag]?.level == 530)
        #expect(machine.inputsRead(inputs, now: 3 * second)[.lag]?.level == 500, "never below what was measured")
    }

    @Test func aGapInTheMeasurementsIsNoBacklog() {
        var machine = SheddingLevelMachine()
        var inputs = SheddingInputs()
        inputs.lag = Self.lag(0, at: second)
        inputs.producer = Self.producer(delivered: 0)
        _ = machine.inputsRead(inputs, now: second)
        inputs.lag = nil
        inputs.producer = Self.producer(delivered: 1_000_000)
        let unknown = machine.inputsRead(inputs, now: 50 * second)
        #expect(unknown[.lag] == nil && unknown[.timeLag] == nil)
        inputs.lag = Self.lag(7, at: 60 * second)
        #expect(machine.inputsRead(inputs, now: 60 * second)[.lag]?.level == 7)
    }

    @Test func freeCreditsCountAsTheMostOfTheLastSecond() {
        var machine = SheddingLevelMachine()
        var inputs = SheddingInputs()
        func credits(_ records: Int, _ bytes: Int) -> SheddingInputs.PipelineCredits {
            SheddingInputs.PipelineCredits(
                free: Credits(records: records, bytes: bytes), total: Credits(records: 100, bytes: 1_000))
        }
        inputs.credits = credits(80, 500)
        #expect(machine.inputsRead(inputs, now: second)[.credits]?.level == 0.5, "the scarcer of both")
        inputs.credits = credits(0, 0)
        #expect(machine.inputsRead(inputs, now: second + second / 2)[.credits]?.level == 0.5)
        #expect(machine.inputsRead(inputs, now: 2 * second)[.credits]?.level == 1)
        inputs.credits = credits(-20, -20)
        #expect(machine.inputsRead(inputs, now: 3 * second)[.credits].map { $0.level > 1 } == true, "a debt")
        inputs.credits = nil
        #expect(machine.inputsRead(inputs, now: 4 * second)[.credits] == nil)
    }

    @Test func theProducerQueueFallsAtTheRateOfAcknowledgements() {
        var machine = SheddingLevelMachine()
        var inputs = SheddingInputs()
        inputs.producer = Self.producer(delivered: 0, inFlight: 800)
        let first = machine.inputsRead(inputs, now: second)
        #expect(first[.producerQueue] == SheddingLevel(level: 0.8, fall: 0))
        inputs.producer = Self.producer(delivered: 200, inFlight: 800)
        #expect(machine.inputsRead(inputs, now: 2 * second)[.producerQueue] == SheddingLevel(level: 0.8, fall: 0.2))
        // Nothing is acknowledged any more.
        for later in 3...9 { _ = machine.inputsRead(inputs, now: UInt64(later) * second) }
        #expect(machine.inputsRead(inputs, now: 10 * second)[.producerQueue] == SheddingLevel(level: 0.8, fall: 0))
        #expect(machine.inputsRead(SheddingInputs(), now: 11 * second)[.producerQueue] == nil)
    }
}
