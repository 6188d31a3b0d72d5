// Everything one schedule consists of, and its first violation.

import Backpressure
import Pipeline
import Records

/// The world of one schedule: what outlives a member (time, log, database), and the present member.
final class SimulatedWorld: @unchecked Sendable {
    // Licence for @unchecked: everything in here runs on the driver's thread only; every port checks that on entry.

    let seed: UInt64
    let scenario: Scenario
    let executor = SeededExecutor()
    let clock: ManualClock
    var log: SimulatedLog
    /// Draws the faults.
    var faults: SimulationRandom
    var transcript: Transcript
    var coverage = Coverage()
    private(set) var violation: String?
    /// Time that passed although there was work, nanoseconds: deadlines are extended by it.
    var stalled: UInt64 = 0
    /// Faults are still injected.
    var isChaotic = true
    /// The member's `run()` has returned: no port may be called any more.
    var hasEnded = false
    private(set) var database: SimulatedDatabase! = nil
    /// The present member.
    weak var member: Member?

    init(seed: UInt64, keepsTranscript: Bool, printsIt: Bool = false) {
        self.seed = seed
        scenario = Scenario(seed: seed)
        clock = ManualClock(seed: seed, executor: executor)
        log = SimulatedLog(partitions: scenario.partitions)
        faults = SimulationRandom(seed: seed, stream: 2)
        transcript = Transcript(isKept: keepsTranscript, isPrinted: printsIt)
        database = SimulatedDatabase(world: self)
    }

    /// Records a violation. The first one counts.
    func fail(_ sentence: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = sentence()
        note(.end, -1, -1, "VIOLATION: \(violation ?? "")")
    }

    func expect(_ condition: Bool, _ sentence: @autoclosure () -> String) {
        if !condition { fail(sentence()) }
    }

    func note(_ mark: Mark, _ a: Int, _ b: Int = 0, _ text: @autoclosure () -> String = "") {
        transcript.note(mark, at: clock.now, Int64(a), Int64(b), text)
    }

    func note(_ mark: Mark, _ a: Int, _ b: Int64, _ text: @autoclosure () -> String = "") {
        transcript.note(mark, at: clock.now, Int64(a), b, text)
    }

    /// The pipeline called a port.
    func entered(_ port: StaticString) {
        executor.requireDriver()
        expect(executor.isRunning, "\(port) was called although no job was running")
        expect(!hasEnded, "\(port) was called after run() had returned")
    }

    /// Draws a fault with this probability, while faults are injected.
    func strikes(_ share: Double) -> Bool { isChaotic && faults.chance(share) }
}
