// The consumer group of a schedule: assigns partitions, revokes them or declares them lost, and waits for the member's answers.

import Pipeline
import Records

/// One rebalance after the other, as librdkafka does it: the next event waits until the last one is answered.
final class SimulatedGroup {
    private enum State: Equatable {
        /// No partitions; an assignment will follow.
        case out
        /// An assignment was delivered.
        case offered
        /// The assignment was answered.
        case member
        /// A revoke was delivered.
        case revoked
        /// The member has left.
        case gone
    }

    private unowned let world: SimulatedWorld
    private var state = State.out
    private var random: SimulationRandom
    private(set) var partitions: [Int] = []
    /// The event in the main queue.
    private(set) var event: SourceEvent?
    /// When the last event must be answered, and ``SimulatedWorld/stalled`` when it was delivered.
    private var answerDue: (time: UInt64, stalled: UInt64, isRevoke: Bool)?
    private var waitsForRebalance: Bool?

    init(world: SimulatedWorld, life: UInt64) {
        self.world = world
        random = SimulationRandom(seed: world.seed, stream: 20 + life)
        offerLater()
    }

    /// Partitions are assigned, and no rebalance is under way.
    var isStable: Bool { state == .member && event == nil }
    /// All partitions are assigned.
    var isWhole: Bool { isStable && partitions.count == world.scenario.partitions }

    /// Revokes the partitions (or declares them lost) as soon as the last event is answered, and assigns others.
    func rebalance(isLost: Bool) {
        guard isStable else {
            waitsForRebalance = isLost
            return
        }
        world.coverage.met(isLost ? .losses : .rebalances)
        if isLost { for partition in partitions where random.chance(0.5) { world.database.rivalClaims(partition, &random) } }
        event = .revoked(partitions.map(SimulatedLog.name), isLost: isLost)
        world.note(.group, 1, isLost ? 1 : 0, "group: \(isLost ? "lost" : "revokes") \(partitions)")
    }

    /// The reader's thread takes the event from the main queue.
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
            answerDue = (world.clock.now + configuration.drainDeadline + slack, world.stalled, true)
        }
        return event
    }

    /// The member assigned something.
    func assigned() {
        // A late claim, or one that crosses a revoke, answers no event.
        guard state == .offered else { return }
        state = .member
        if let isLost = waitsForRebalance {
            waitsForRebalance = nil
            rebalance(isLost: isLost)
        }
    }

    /// The member gave everything back.
    func unassigned() {
        // librdkafka does not take it for an answer to an assignment (`rd_kafka_cgrp_unassign` leaves the join state as it is).
        guard state == .revoked else { return }
        state = .out
        for partition in partitions where world.isChaotic && random.chance(0.3) { world.database.rivalClaims(partition, &random) }
        partitions = []
        offerLater()
    }

    /// The member leaves: it is told nothing more, and nothing waits for it.
    func leave() {
        state = .gone
        event = nil
        answerDue = nil
    }

    /// The member has left.
    var isLeft: Bool { state == .gone }

    /// The pipeline gave its answer; the reader's thread carries it out in a later step.
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
        world.note(.group, 0, partitions.count, "group: assigns \(partitions)")
    }

    /// Checks that the group was answered in time.
    func checkAnswer() {
        guard let due = answerDue else { return }
        let limit = due.time + (world.stalled - due.stalled)
        guard world.clock.now > limit else { return }
        let what = due.isRevoke ? "a revoke" : "an assignment"
        world.fail("the group waits for an answer to \(what), \((world.clock.now - limit) / 1_000) µs beyond its deadline")
    }
}
