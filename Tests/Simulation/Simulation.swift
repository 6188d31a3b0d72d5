// Runs one schedule from its seed: faults, then a part without faults, then the end; after an early end a second member finishes.

import Pipeline
import Records

/// The result of a schedule.
struct Report {
    let seed: UInt64
    /// Of every step; the same for the same seed.
    let hash: UInt64
    /// Jobs that were run.
    let jobs: Int
    /// The invariant that was violated; `nil`: none.
    let violation: String?
    let coverage: Coverage
    let lines: [String]
    /// How long the longest part without faults took, nanoseconds.
    let calm: UInt64
}

/// The driver: runs all jobs, and advances time when no job is ready.
final class Simulation {
    /// Without faults everything must be applied and all credits returned within this, nanoseconds; stalls of the machine come on top.
    static let calmLimit: UInt64 = 5_000 * millisecond
    /// The most jobs of a schedule: with more, a task spins.
    static let jobLimit = 1_000_000

    private let world: SimulatedWorld
    private var random: SimulationRandom
    private var member: Member
    private var invariants: Invariants
    private var calm: UInt64 = 0

    private init(seed: UInt64, keepsTranscript: Bool, printsIt: Bool) {
        world = SimulatedWorld(seed: seed, keepsTranscript: keepsTranscript, printsIt: printsIt)
        random = SimulationRandom(seed: seed, stream: 4)
        member = Member(world, life: 0)
        invariants = Invariants(world: world, member: member)
    }

    /// Runs the schedule of a seed on this thread.
    static func run(seed: UInt64, keepsTranscript: Bool = false, printsIt: Bool = false) -> Report {
        let simulation = Simulation(seed: seed, keepsTranscript: keepsTranscript, printsIt: printsIt)
        simulation.run()
        let world = simulation.world
        return Report(
            seed: seed, hash: world.transcript.hash, jobs: world.executor.executed, violation: world.violation,
            coverage: world.coverage, lines: world.transcript.lines, calm: simulation.calm)
    }

    private func run() {
        let scenario = world.scenario
        world.note(.phase, 0, 0, "\(scenario.partitions) partitions, \(scenario.configuration.lanes) lanes, \(scenario.ending)")
        Chaos.plan(world)
        let isCalm = scenario.ending == .calm
        let chaos = isCalm ? scenario.chaos : random.next() % scenario.chaos
        drive(until: world.clock.now + chaos) { false }
        if isCalm {
            settle()
            finish(.calm)
        } else {
            finish(scenario.ending)
            guard world.violation == nil else { return }
            // The next member finds all it needs in the database.
            world.coverage.met(.secondLives)
            member = Member(world, life: 1)
            invariants = Invariants(world: world, member: member)
            settle()
            finish(.calm)
        }
    }

    /// No more faults: everything must be read and applied, and all credits returned.
    private func settle() {
        world.isChaotic = false
        world.database.thaw()
        member.source.thaw()
        member.source.library.brokers.heal()
        member.decide(.pauses(.none))
        member.decide(.limits(world.scenario.configuration))
        world.note(.phase, 2, 0, "calm")
        let begun = world.clock.now
        if random.chance(0.3) { member.source.group.rebalance(isLost: false) }
        var hindrance: String? = ""
        let stalledBefore = world.stalled
        while world.violation == nil {
            // Only a rebalance brings back the partitions that other members have, and here, where no operator retries them, those that
            // have stopped for their bad records. The others must be read again by themselves.
            let group = member.source.group
            let isServed = member.pipeline?.snapshot().stopped.allSatisfy(\.reason.isRechecked) ?? true
            if group.isStable, !group.isWhole || !isServed { group.rebalance(isLost: false) }
            growUnnoticedLogs()
            let step = world.scenario.configuration.tick * 4
            drive(until: world.clock.now + step) { false }
            hindrance = invariants.hindrance()
            if hindrance == nil { break }
            let passed = world.clock.now - begun - (world.stalled - stalledBefore)
            world.expect(passed < Self.calmLimit, "stuck: after \(passed / millisecond) ms without a fault \(hindrance ?? "")")
        }
        calm = Swift.max(calm, world.clock.now - begun)
    }

    /// A member knows nothing of what a rival has written since its claim. So a topic that was made anew meanwhile, and is empty, is to it
    /// one of which nothing was applied: nothing is due, and the next record tells the logs apart.
    private func growUnnoticedLogs() {
        for position in member.pipeline?.snapshot().positions ?? [] {
            let partition = Int(position.source.partition)
            let (row, log) = (world.database.rows[partition], world.log.partitions[partition])
            guard log.offsets.isEmpty, row.applied > 0, row.life != log.life, position.applied < row.next else { continue }
            Chaos.grow(world, partition, 1)
        }
    }

    /// Ends the member, which must take no longer than it was allowed to.
    private func finish(_ ending: Ending) {
        guard world.violation == nil else { return }
        member.end(ending)
        if ending == .shutdown, random.chance(0.5) {
            // The group wants its partitions while the member drains for its own end.
            let isLost = random.chance(0.3)
            world.clock.after(random.milliseconds(0...30)) { [weak member] in member?.source.group.rebalance(isLost: isLost) }
        }
        let configuration = world.scenario.configuration
        // The end may begin while a revoke waits for the answer to its offset commit.
        var limit = configuration.finalCommitTimeout + 2 * configuration.tick
        if ending == .shutdown || ending == .calm { limit += world.scenario.shutdownLimit }
        let begun = world.clock.now
        let stalledBefore = world.stalled
        while world.violation == nil, member.outcome == nil {
            drive(until: world.clock.now + configuration.tick) { [member] in member.outcome != nil }
            world.expect(
                member.outcome != nil || world.clock.now <= begun + limit + (world.stalled - stalledBefore),
                "run() has not returned \((world.clock.now - begun) / millisecond) ms after the end began (\(ending))")
        }
        guard world.violation == nil else { return }
        // Jobs that are still ready belong to the task that asked for the end.
        while world.violation == nil, world.executor.readyCount > 0 {
            world.executor.run(at: random.below(world.executor.readyCount))
        }
        invariants.holdAfterTheEnd()
    }

    /// Runs jobs and the reader, and advances time, until an instant or a condition.
    private func drive(until limit: UInt64, _ isDone: () -> Bool) {
        while world.violation == nil, !isDone() {
            let jobs = world.executor.readyCount
            let canRead = member.source.canStep
            if jobs == 0, !canRead {
                guard let due = world.clock.nextDue else { return world.fail("no task is ready and none sleeps") }
                guard due <= limit else { return advance(to: limit) }
                advance(to: due)
                continue
            }
            if random.chance(world.scenario.stallShare) {
                let stall = random.next() % (2 * world.scenario.configuration.tick)
                world.stalled += stall
                world.coverage.met(.stalls)
                world.clock.advance(to: world.clock.now + stall)
                continue
            }
            if canRead, jobs == 0 || random.chance(world.scenario.readerShare) {
                world.transcript.mix(Mark.reader.rawValue)
                member.source.step()
            } else {
                let index = choose(among: jobs)
                world.transcript.mix(Mark.job.rawValue << 32 | UInt64(index) << 16 | UInt64(jobs))
                world.executor.run(at: index)
            }
            world.expect(world.executor.executed < Self.jobLimit, "a task spins")
        }
    }

    private func choose(among jobs: Int) -> Int {
        switch world.scenario.order {
        case .any: random.below(jobs)
        case .oldest: random.chance(0.1) ? random.below(jobs) : 0
        case .newest: random.chance(0.1) ? random.below(jobs) : jobs - 1
        }
    }

    private func advance(to time: UInt64) {
        world.clock.advance(to: time)
        guard member.outcome == nil else { return }
        invariants.holdNow()
        if random.chance(0.1) { invariants.holdInSnapshot() }
    }
}
