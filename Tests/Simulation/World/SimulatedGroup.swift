// The consumer group of a schedule: gives partitions, takes them back or away, and waits for the member's answers.

import Pipeline
import Records

/// One rebalance after the other, as librdkafka does it: an event is handed out, and the next waits until it is answered.
final class SimulatedGroup {
    private enum State: Equatable {
        /// No partitions; an offer comes.
        case out
        /// An assignment was handed out.
        case offered
        /// The assignment was answered.
        case member
        /// A revoke was handed out.
        case revoked
        /// The member has left.
        case gone
    }

    private unowned let world: SimulatedWorld
    private var state = State.out
    private var random: SimulationRandom
    private(set) var partitions: [Int] = []
    /// What the reader's thread finds when it serves the main queue.
    private(set) var event: SourceEvent?
    /// Until when the last event must be answered, and what had stalled when it was handed out.
    private var answerDue: (time: UInt64, stalled: UInt64, isRevoke: Bool)?
    private var waitsForRebalance: Bool?

    init(world: SimulatedWorld, life: UInt64) {
        self.world = world
        random = SimulationRandom(seed: world.seed, stream: 20 + life)
        offerLater()
    }

    /// Partitions are held, and nothing is going on.
    var isStable: Bool { state == .member && event == nil }
    /// All partitions are held.
    var isWhole: Bool { isStable && partitions.count == world.scenario.partitions }

    /// Takes the partitions back (or away) as soon as the last event is answered, and gives others.
    func rebalance(isLost: Bool) {
        guard isStable else {
            waitsForRebalance = isLost
            return
        }
        world.coverage.met(isLost ? .losses : .rebalances)
        if isLost { for partition in partitions where random.chance(0.5) { world.database.rivalClaims(partition, &random) } }
        event = .revoked(partitions.map(SimulatedLog.name), isLost: isLost)
        world.note(.group, 1, isLost ? 1 : 0, "group: takes \(partitions) \(isLost ? "away" : "back")")
    }

    /// The reader's thread hands the event on.
    func takeEvent() -> SourceEvent? {
        guard let event else { return nil }
        self.event = nil
        let configuration = world.scenario.configuration
        let slack = 2 * configuration.tick
        switch event {
        case .assigned:
            state = .offered
            answerDue = (world.clock.now + configuration.claimDeadline + slack, world.stalled, false)
        default:
            state = .revoked
            answerDue = (
                world.clock.now + configuration.drainDeadline + configuration.offsetCommitInterval + slack, world.stalled, true
            )
        }
        return event
    }

    /// The member assigned something.
    func assigned() {
        // Behind the group's back, where a claim comes late or crosses a revoke: no answer to anything then.
        guard state == .offered else { return }
        state = .member
        if let isLost = waitsForRebalance {
            waitsForRebalance = nil
            rebalance(isLost: isLost)
        }
    }

    /// The member gave everything back.
    func unassigned() {
        guard state == .revoked || state == .offered else { return }
        state = .out
        for partition in partitions where world.isChaotic && random.chance(0.3) { world.database.rivalClaims(partition, &random) }
        partitions = []
        offerLater()
    }

    func leave() { state = .gone }

    /// The pipeline gave its answer; the reader's thread carries it out when its turn comes.
    func answerGiven(isUnassign: Bool) {
        if let due = answerDue, isUnassign || !due.isRevoke { answerDue = nil }
    }

    private func offerLater() {
        world.clock.after(random.milliseconds(0...10)) { [weak self] in self?.offer() }
    }

    private func offer() {
        guard state == .out else { return }
        let all = Array(0..<world.scenario.partitions)
        partitions = all.filter { _ in !world.isChaotic || random.chance(0.8) }
        event = .assigned(partitions.map(SimulatedLog.name))
        world.note(.group, 0, partitions.count, "group: gives \(partitions)")
    }

    /// Time has passed: was the group answered in time?
    func examine() {
        guard let due = answerDue else { return }
        let limit = due.time + (world.stalled - due.stalled)
        guard world.clock.now > limit else { return }
        let what = due.isRevoke ? "a revoke" : "an assignment"
        world.fail("the group waits for an answer to \(what), \((world.clock.now - limit) / 1_000) µs beyond its deadline")
    }
}
