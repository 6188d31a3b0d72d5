// Transcripts of shedding: where it begins, how it goes back, what callers are told, and that the share is exact.

import Admission
import Backpressure
import TestSupport
import Testing

private let second: UInt64 = 1_000_000_000
private let thousand = SheddingLimits(lagRecords: 1_000)

/// A machine that is shown one level of lag after the other.
private struct Lag: ~Copyable {
    var machine = SheddingMachine()
    var now: UInt64 = 0
    var limits: SheddingLimits

    init(_ limits: SheddingLimits = thousand) { self.limits = limits }

    /// `fall`: records that drain a second.
    mutating func look(_ level: Double?, fall: Double = 0, after seconds: Double = 100) -> SheddingDecision {
        now += UInt64(seconds * 1e9)
        var readings = SheddingLevels()
        readings[.lag] = level.map { SheddingLevel(level: $0, fall: fall) }
        return machine.levelsRead(readings, now: now, limits: limits)
    }
}

@Suite struct SheddingMachineTests {
    @Test func refusesInProportionBetweenTheThresholdAndItsDouble() {
        var lag = Lag()
        #expect(lag.look(0) == .admitAll)
        #expect(lag.look(1_000) == .admitAll)
        for (level, share) in [(1_100.0, 0.1), (1_500, 0.5), (1_999, 0.999), (2_000, 1), (50_000, 1)] {
            let order = lag.look(level)
            #expect(abs(order.share - share) < 1e-9, "at \(level)")
            #expect(order.cause == .lag)
        }
    }

    @Test func staysAsItIsUntilTheLevelHasFallenByHalfAThreshold() {
        var lag = Lag()
        #expect(lag.look(1_600).share == 0.6)
        for level in [1_500.0, 1_200, 1_590, 1_101] { #expect(lag.look(level).share == 0.6, "at \(level)") }
        #expect(lag.look(1_000).share == 0.5)
        #expect(lag.look(1_400).share == 0.5, "up again within the backlash")
        #expect(abs(lag.look(1_550).share - 0.55) < 1e-9, "up beyond it")
        #expect(abs(lag.look(600).share - 0.1) < 1e-9)
        #expect(lag.look(500) == .admitAll)
        #expect(lag.look(999) == .admitAll, "it begins anew at the threshold")
    }

    @Test func noiseOfLessThanHalfAThresholdMovesNothing() {
        var lag = Lag()
        _ = lag.look(1_700)
        var random = SeededRandom(seed: testSeed("noise"))
        for _ in 0..<1_000 { #expect(lag.look(1_250 + 400 * random.unit()).share == 0.7) }
    }

    @Test func isLetInAgainStepByStep() {
        var lag = Lag()
        #expect(lag.look(3_000).share == 1)
        #expect(lag.look(0, after: 0).share == 1)
        #expect(abs(lag.look(0, after: 1).share - 0.8) < 1e-9)
        #expect(abs(lag.look(0, after: 2).share - 0.4) < 1e-9)
        // More at once, where it has to be.
        #expect(lag.look(2_000, after: 0.1).share == 1)
        _ = lag.look(0, after: 4)
        #expect(lag.look(0, after: 1) == .admitAll)
    }

    @Test func aClockThatStandsOrGoesBackLetsNobodyIn() {
        var lag = Lag()
        #expect(lag.look(3_000).share == 1)
        lag.now -= 50 * second
        #expect(lag.look(0, after: 0).share == 1)
        #expect(lag.look(0, after: 50).share == 1, "that time has been")
        #expect(abs(lag.look(0, after: 1).share - 0.8) < 1e-9)
    }

    @Test func whatIsNotKnownRefusesNothing() {
        var lag = Lag()
        #expect(lag.look(nil) == .admitAll)
        #expect(lag.look(2_000).share == 1)
        let unknown = lag.look(nil, after: 1)
        #expect(abs(unknown.share - 0.8) < 1e-9, "nobody knows whether all may come in")
        #expect(unknown.retryAfter == 4, "when the last of it is let in")
        #expect(lag.look(nil, after: 4) == .admitAll)
    }

    @Test func whatIsTurnedOffIsOffAtOnce() {
        var lag = Lag()
        #expect(lag.look(2_000).share == 1)
        lag.limits.lagRecords = 0
        #expect(lag.look(2_000, after: 0) == .admitAll)
        lag.limits.lagRecords = 1_600
        #expect(lag.look(2_000, after: 0).share == 0.25)
    }

    @Test func theWaitIsTheTimeToTheLowMarkAtTheMeasuredRate() {
        var lag = Lag()
        #expect(lag.look(1_500, fall: 100).retryAfter == 10)
        #expect(lag.look(1_500, fall: 90).retryAfter == 12, "rounded up")
        #expect(lag.look(1_500, fall: 1).retryAfter == 60, "capped")
        #expect(lag.look(1_500, fall: 0).retryAfter == 60, "nothing drains")
        #expect(lag.look(1_500, fall: 1e9).retryAfter == 3, "half of everything is let in over so long")
        lag.limits.longestRetry = 300
        #expect(lag.look(1_500, fall: 10).retryAfter == 100)
        #expect(lag.look(900, fall: 100_000).retryAfter >= 1)
    }

    @Test func theCauseThatAsksForMostIsNamedAndTheLongestWaitIsTold() {
        var machine = SheddingMachine()
        let limits = SheddingLimits(lagRecords: 1_000, lagSeconds: 10, credits: 0.2, producerQueue: 0.5, longestRetry: 100)
        var readings = SheddingLevels()
        readings[.lag] = SheddingLevel(level: 1_300, fall: 20)
        readings[.timeLag] = SheddingLevel(level: 12, fall: 1)
        readings[.credits] = SheddingLevel(level: 0.7, fall: 1)
        readings[.producerQueue] = SheddingLevel(level: 0.7, fall: 1)
        let order = machine.levelsRead(readings, now: second, limits: limits)
        #expect(order.cause == .producerQueue)
        #expect(abs(order.share - 0.4) < 1e-9)
        #expect(order.retryAfter == 40, "of the lag")
        #expect(abs(machine.share(of: .lag) - 0.3) < 1e-9)
        #expect(abs(machine.share(of: .timeLag) - 0.2) < 1e-9)
        #expect(machine.share(of: .credits) == 0)
        readings[.credits] = SheddingLevel(level: 1, fall: 1)
        let starved = machine.levelsRead(readings, now: second, limits: limits)
        #expect(starved.cause == .credits && starved.share == 1)
    }

    @Test(arguments: [0.05, 0.3, 0.5, 0.8, 0.99]) func everyQueueThresholdLetsGoBeforeItIsEmpty(threshold: Double) {
        var machine = SheddingMachine()
        var readings = SheddingLevels()
        readings[.producerQueue] = SheddingLevel(level: 1, fall: 1)
        let limits = SheddingLimits(producerQueue: threshold)
        #expect(machine.levelsRead(readings, now: second, limits: limits).share == 1)
        readings[.producerQueue] = SheddingLevel(level: threshold / 2, fall: 1)
        #expect(machine.levelsRead(readings, now: 100 * second, limits: limits) == .admitAll)
    }
}

/// Order a share for one cause, by way of the machine.
private func order(share: Double, retryAfter: Double = 10) -> SheddingDecision {
    var machine = SheddingMachine()
    var readings = SheddingLevels()
    let level = 1_000_000 * (1 + share)
    readings[.lag] = SheddingLevel(level: level, fall: (level - 500_000) / retryAfter)
    return machine.levelsRead(readings, now: 1, limits: SheddingLimits(lagRecords: 1_000_000, longestRetry: 600))
}

@Suite struct SheddingHoldTests {
    private func shedder(lag: Double) -> LoadShedder {
        let shedder = LoadShedder(thousand)
        var facts = SheddingInputs()
        facts.lag = SheddingInputs.Lag(records: lag, seconds: nil, measuredAt: second, drainRate: 0)
        shedder.evaluate(facts, now: second)
        return shedder
    }

    /// The slots of 10 ms in which a body that is being read has to wait.
    private func held(_ shedder: LoadShedder, of slots: UInt64) -> [Bool] {
        (0..<slots).map { shedder.mustPauseReading(at: 7 * second + $0 * 10_000_000) }
    }

    @Test func aBodyGoesOnInTheAdmittedShareOfTheTime() {
        #expect(held(shedder(lag: 900), of: 50).allSatisfy { !$0 })
        #expect(held(shedder(lag: 2_000), of: 50).allSatisfy { $0 })
        for (lag, share) in [(1_100.0, 0.1), (1_500, 0.5), (1_900, 0.9)] {
            let held = held(shedder(lag: lag), of: 1_000)
            let count = held.count { $0 }
            #expect(abs(Double(count) - 1_000 * share) <= 2, "\(count) of 1000 at a share of \(share)")
            // Spread: no run is much longer than an even rhythm asks for.
            let longest = held.split(separator: false).map(\.count).max() ?? 0
            #expect(Double(longest) <= share / (1 - share) * 2 + 2, "\(longest) in a row at a share of \(share)")
        }
    }

    @Test func aSlotIsHeldAsAWhole() {
        let shedder = shedder(lag: 1_500)
        for slot in 0..<100 as Range<UInt64> {
            let start = slot * 10_000_000
            #expect(shedder.mustPauseReading(at: start) == shedder.mustPauseReading(at: start + 9_999_999))
        }
    }
}

@Suite struct RequestSamplerTests {
    @Test func nobodyIsRefusedWhereNothingIsShed() {
        var meter = RequestSamplerMachine()
        for _ in 0..<1_000 { #expect(meter.requested(.admitAll) == nil) }
    }

    @Test func theShareIsExactAtEveryMoment() {
        var random = SeededRandom(seed: testSeed("shed share"))
        var meter = RequestSamplerMachine()
        var due = 0.0
        var refused = 0
        // The share may change with every request.
        for _ in 0..<200_000 {
            let share = random.unit()
            let order = order(share: share)
            due += order.share
            if meter.requested(order) != nil { refused += 1 }
            #expect(abs(due - Double(refused)) <= 1.001)
        }
        // And it may stay.
        for share in [0.001, 0.25, 0.5, 0.999, 1] {
            var meter = RequestSamplerMachine()
            let order = order(share: share)
            let count = (0..<10_000).count { _ in meter.requested(order) != nil }
            #expect(abs(Double(count) - share * 10_000) <= 1.001, "\(count) at \(share)")
        }
    }

    @Test func callersThatTakeTurnsAreTreatedAlike() {
        for callers in [2, 3, 4, 10] {
            var meter = RequestSamplerMachine()
            let order = order(share: 0.5)
            var refused = [Int](repeating: 0, count: callers)
            for number in 0..<callers * 10_000 where meter.requested(order) != nil { refused[number % callers] += 1 }
            for count in refused { #expect(abs(count - 5_000) < 300, "\(refused)") }
        }
    }

    @Test func callersThatAreRefusedTogetherComeBackApart() {
        var meter = RequestSamplerMachine()
        let order = order(share: 1, retryAfter: 20)
        #expect(order.retryAfter == 20)
        var waits: [Int: Int] = [:]
        for _ in 0..<11_000 { waits[meter.requested(order)?.retryAfter ?? 0, default: 0] += 1 }
        #expect(waits.keys.min() == 20 && waits.keys.max() == 30, "never earlier, at most half as much later")
        for (wait, count) in waits { #expect(abs(count - 1_000) < 20, "\(count) after \(wait) s") }
    }

    @Test func theSameRequestsGiveTheSameTranscript() {
        func transcript() -> [SheddingRefusal?] {
            var meter = RequestSamplerMachine()
            let order = order(share: 0.3)
            return (0..<1_000).map { _ in meter.requested(order) }
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

    @Test func whatWasLetInSinceTheAnswerCounts() {
        var machine = SheddingLevelMachine()
        var facts = SheddingInputs()
        facts.lag = Self.lag(500, at: second)
        facts.producer = Self.producer(delivered: 10_000)
        #expect(machine.inputsRead(facts, now: second)[.lag]?.level == 500)
        facts.producer = Self.producer(delivered: 10_200, inFlight: 50)
        #expect(machine.inputsRead(facts, now: second + second / 2)[.lag]?.level == 750)
        // The next answer holds all of it but what came since the last look.
        facts.lag = Self.lag(760, at: 2 * second)
        facts.producer = Self.producer(delivered: 10_300)
        #expect(machine.inputsRead(facts, now: 2 * second)[.lag]?.level == 810)
    }

    @Test func whatDrainsMeanwhileIsTakenOff() {
        var machine = SheddingLevelMachine()
        var facts = SheddingInputs()
        facts.lag = Self.lag(500, at: second, drain: 100)
        facts.producer = Self.producer(delivered: 0)
        _ = machine.inputsRead(facts, now: second)
        facts.producer = Self.producer(delivered: 130)
        #expect(machine.inputsRead(facts, now: 2 * second)[.lag]?.level == 530)
        #expect(machine.inputsRead(facts, now: 3 * second)[.lag]?.level == 500, "never below what was measured")
    }

    @Test func aGapInTheAnswersIsNoBacklog() {
        var machine = SheddingLevelMachine()
        var facts = SheddingInputs()
        facts.lag = Self.lag(0, at: second)
        facts.producer = Self.producer(delivered: 0)
        _ = machine.inputsRead(facts, now: second)
        facts.lag = nil
        facts.producer = Self.producer(delivered: 1_000_000)
        let silent = machine.inputsRead(facts, now: 50 * second)
        #expect(silent[.lag] == nil && silent[.timeLag] == nil)
        facts.lag = Self.lag(7, at: 60 * second)
        #expect(machine.inputsRead(facts, now: 60 * second)[.lag]?.level == 7)
    }

    @Test func freeCreditsCountAsTheMostOfTheLastSecond() {
        var machine = SheddingLevelMachine()
        var facts = SheddingInputs()
        func account(_ records: Int, _ bytes: Int) -> SheddingInputs.PipelineCredits {
            SheddingInputs.PipelineCredits(
                free: Credits(records: records, bytes: bytes), total: Credits(records: 100, bytes: 1_000))
        }
        facts.credits = account(80, 500)
        #expect(machine.inputsRead(facts, now: second)[.credits]?.level == 0.5, "the scarcer of both")
        facts.credits = account(0, 0)
        #expect(machine.inputsRead(facts, now: second + second / 2)[.credits]?.level == 0.5)
        #expect(machine.inputsRead(facts, now: 2 * second)[.credits]?.level == 1)
        facts.credits = account(-20, -20)
        #expect(machine.inputsRead(facts, now: 3 * second)[.credits].map { $0.level > 1 } == true, "a debt")
        facts.credits = nil
        #expect(machine.inputsRead(facts, now: 4 * second)[.credits] == nil)
    }

    @Test func theQueueOfTheProducerFallsAsFastAsTheBrokersAnswer() {
        var machine = SheddingLevelMachine()
        var facts = SheddingInputs()
        facts.producer = Self.producer(delivered: 0, inFlight: 800)
        let first = machine.inputsRead(facts, now: second)
        #expect(first[.producerQueue] == SheddingLevel(level: 0.8, fall: 0))
        facts.producer = Self.producer(delivered: 200, inFlight: 800)
        #expect(machine.inputsRead(facts, now: 2 * second)[.producerQueue] == SheddingLevel(level: 0.8, fall: 0.2))
        // Nothing is acknowledged any more.
        for later in 3...9 { _ = machine.inputsRead(facts, now: UInt64(later) * second) }
        #expect(machine.inputsRead(facts, now: 10 * second)[.producerQueue] == SheddingLevel(level: 0.8, fall: 0))
        #expect(machine.inputsRead(SheddingInputs(), now: 11 * second)[.producerQueue] == nil)
    }
}
