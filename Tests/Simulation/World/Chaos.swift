// Plans the faults of a schedule.

import Pipeline
import Records

/// Bursts of records, rebalances, claims by rivals, freezes and outages at random times of the part with faults.
struct Chaos {
    private enum Kind: CaseIterable {
        case rebalance, lost, steal, freezeDatabase, outage, freezeReader, frozenAndLost, positionLost, partitionFailed, notice,
            operatorPause, operatorResume, reload, brokerDown, leaderless, offsetLostWhileFrozen, topicMadeAnew,
            topicMadeAnewWhileFrozen
    }

    /// Schedules them on the clock.
    static func plan(_ world: SimulatedWorld) {
        var random = SimulationRandom(seed: world.seed, stream: 3)
        let length = Int(world.scenario.chaos / millisecond)
        for _ in 0..<random.within(1...12) {
            let partition = random.below(world.scenario.partitions)
            let count = random.pick([1, 5, 20, 60])
            world.clock.after(random.milliseconds(0...length)) { [unowned world] in grow(world, partition, count) }
        }
        for _ in 0..<random.within(0...8) {
            let kind = random.pick(Kind.allCases)
            let partition = random.below(world.scenario.partitions)
            let duration = random.milliseconds(1...random.pick([10, 120]))
            world.clock.after(random.milliseconds(0...length)) { [unowned world] in
                strike(kind, partition, duration, world)
            }
        }
    }

    static func grow(_ world: SimulatedWorld, _ partition: Int, _ count: Int) {
        if world.log.partitions[partition].isMissing { return }
        world.log.append(count, to: partition, at: world.clock.wallMilliseconds, world.scenario, &world.faults)
        world.note(.fault, 10, count, "log: \(SimulatedLog.name(partition)) grows by \(count) to \(world.log.end(partition))")
        world.member?.source.library.brokers.logGrew()
    }

    /// Creates a topic again that was deleted, and fills it. librdkafka goes on in the new log where it was in the old one, and nothing
    /// tells it from a topic that was never away: so the member has learned that it is, and reads it after a new claim only, or its thread
    /// stands still.
    private static func create(_ partition: Int, _ count: Int, after wait: UInt64, _ world: SimulatedWorld) {
        world.clock.after(wait) { [unowned world] in
            let name = SimulatedLog.name(partition)
            let positions = world.member?.pipeline?.snapshot().positions ?? []
            let isRead = positions.contains { $0.source == name && $0.isValid } && world.member?.source.isFrozen == false
            guard !isRead else {
                return create(partition, count, after: millisecond, world)
            }
            world.log.create(partition)
            world.note(.fault, 12, partition, "log: \(name) is created again")
            if count > 0 { grow(world, partition, count) }
            world.member?.source.library.brokers.logGrew()
        }
    }

    private static func strike(_ kind: Kind, _ partition: Int, _ duration: UInt64, _ world: SimulatedWorld) {
        guard world.isChaotic, !world.hasEnded, let member = world.member else { return }
        switch kind {
        case .rebalance: member.source.group.rebalance(isLost: false)
        case .lost: member.source.group.rebalance(isLost: true)
        case .steal:
            if world.database.rows[partition].epoch > 0 { world.database.rivalClaims(partition, &world.faults) }
        case .freezeDatabase: world.database.freeze(for: duration)
        case .outage: world.database.failConnections(for: duration)
        case .freezeReader: member.source.freeze(for: duration)
        case .frozenAndLost:
            // The process was suspended: other members have the partitions before this one learns of it.
            member.source.freeze(for: duration)
            member.source.group.rebalance(isLost: true)
        case .positionLost: member.source.library.brokers.loseOffset(of: partition)
        case .partitionFailed: member.source.library.brokers.refuse(partition, for: duration)
        case .brokerDown: member.source.library.brokers.fail(broker: partition, for: duration)
        case .leaderless: member.source.library.brokers.loseLeader(of: partition, for: duration)
        case .offsetLostWhileFrozen:
            // Where the database stands still, too, partitions run out of credits, and are paused.
            world.database.freeze(for: duration)
            member.source.library.brokers.loseOffset(of: partition)
        case .operatorPause:
            world.coverage.met(.operatorPauses)
            let isWhole = duration % 4 == 0
            let pause =
                isWhole ? OperatorPause(reason: "all") : OperatorPause(topic: "t", partition: Int32(partition), reason: "hot")
            member.decide(.pauses(OperatorPauses([pause])))
        case .operatorResume: member.decide(.pauses(.none))
        case .reload:
            world.coverage.met(.reloads)
            member.decide(.limits(world.scenario.reloaded(&world.faults)))
        case .topicMadeAnew, .topicMadeAnewWhileFrozen:
            guard !world.log.partitions[partition].isMissing else { return }
            world.coverage.met(.topicsMadeAnew)
            if kind == .topicMadeAnewWhileFrozen { member.source.freeze(for: 2 * duration) }
            // Shorter than the old log, as long, or longer.
            let count = world.faults.pick([0, world.log.partitions[partition].offsets.count, 3, 30, 90])
            world.note(.fault, 11, partition, "log: \(SimulatedLog.name(partition)) is deleted")
            world.log.delete(partition)
            create(partition, count, after: duration, world)
        case .notice: member.source.post(.notice("a broker is away"))
        }
    }
}
