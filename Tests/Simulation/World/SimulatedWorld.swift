// Everything one schedule consists of, and the first thing that was found wrong in it.

import Backpressure
import Pipeline
import Records

/// The world of one schedule: what outlives a member (time, log, database), and what belongs to the member that lives now.
final class SimulatedWorld: @unchecked Sendable {
    // Licence for @unchecked: everything in here runs on the driver's thread only; every port checks that on entry.

    let seed: UInt64
    let scenario: Scenario
    let executor = SeededExecutor()
    let clock: ManualClock
    var log: SimulatedLog
    /// What goes wrong.
    var faults: SimulationRandom
    var transcript: Transcript
    var coverage = Coverage()
    private(set) var violation: String?
    /// Time that passed although there was work: what deadlines are allowed on top.
    var stalled: UInt64 = 0
    /// Things still go wrong.
    var isChaotic = true
    /// The member's `run()` has returned: nobody may call a port any more.
    var hasEnded = false
    private(set) var database: SimulatedDatabase! = nil
    /// Who lives now.
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

    /// Something that must not be. The first one counts.
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

    /// A fault of this likelihood, as long as things go wrong.
    func strikes(_ share: Double) -> Bool { isChaotic && faults.chance(share) }
}
