// Runs the assignment machine: the only one who gives the source commands about partitions.

import Backpressure
import Records
import Synchronization

/// Takes inputs from the inbox one after the other, so that claims, revokes, fences and the end never cross.
struct AssignmentStage: Sendable {
    let context: StageContext
    let claimer: any OffsetClaimer
    let board: PublishedAssignment
    let control: PauseControl

    /// Runs until the pipeline has ended.
    /// - Throws: the source's error where it died.
    func run() async throws {
        var machine = AssignmentMachine(configuration: context.configuration)
        var failure: (any Error)?
        var lostPositions: Set<TopicPartition> = []
        // Discarding: nobody asks for a claim's end, and a process that claims for months must not keep them all.
        try await withThrowingDiscardingTaskGroup { claims in
            while let input = try await context.inbox.receive() {
                let actions = self.actions(for: input, &machine, &failure, &lostPositions)
                var hasEnded = false
                for action in actions {
                    if case .claim(let claimRound, let partitions) = action {
                        claims.addTask { await claim(partitions, claimRound: claimRound) }
                    } else {
                        hasEnded = try await perform(action) || hasEnded
                    }
                }
                board.update(summary: machine.summary, stopped: machine.stoppedPartitions)
                if hasEnded { break }
            }
            claims.cancelAll()
        }
        if let failure { throw failure }
    }

    private func actions(
        for input: AssignmentInput, _ machine: inout AssignmentMachine, _ failure: inout (any Error)?,
        _ lostPositions: inout Set<TopicPartition>
    ) -> [AssignmentMachine.Action] {
        let now = context.clock.now
        switch input {
        case .assigned(let partitions):
            lostPositions = []
            context.observer.observed(.rebalanced(assigned: partitions, revoked: [], isLost: false))
            return machine.assigned(partitions, now: now)
        case .revoked(let partitions, let isLost):
            context.observer.observed(.rebalanced(assigned: [], revoked: partitions, isLost: isLost))
            return machine.revoked(isLost: isLost, isDrained: context.ledger.withLock { $0.isDrained }, now: now)
        case .claimAnswered(let claimRound, let results):
            return machine.claimAnswered(
                claimRound: claimRound, results, now: now, random: context.clock.random())
        case .claimFailed(let claimRound, let reason):
            return machine.claimFailed(
                claimRound: claimRound, reason: reason, now: now, random: context.clock.random())
        case .fenced(let source, let generation):
            let actions = machine.fenced(source, generation: generation, now: now, random: context.clock.random())
            // Work of an older assignment is refused, too, once the partition is claimed anew: that is nobody else's doing.
            if !actions.isEmpty { context.observer.observed(.fenced(source)) }
            return actions
        case .positionLost(let source, let reason):
            context.observer.observed(.positionLost(source, reason: reason))
            lostPositions.insert(source)
            return claimLostPositions(&machine, &lostPositions, now: now)
        case .notice(let sentence):
            context.observer.observed(.sourceNotice(sentence))
            return []
        case .stopped(let source, let generation, let reason):
            return machine.stopped(source, generation: generation, reason: reason)
        case .sourceFailed(let error):
            failure = error
            return machine.sourceFailed()
        case .sourceClosed:
            return machine.sourceFailed()
        case .shutdown(let deadline):
            return machine.shutdownRequested(
                deadline: deadline, isDrained: context.ledger.withLock { $0.isDrained }, now: now)
        case .reconfigured:
            reconfigure(&machine)
            return []
        case .drained:
            // Several may be on their way from one drain; one that comes late says nothing about the next.
            guard context.ledger.withLock({ $0.isDrained }) else { return [] }
            return machine.drained(now: now)
        case .operatorPauses(let pauses):
            operatorDecided(pauses)
            return []
        case .tick:
            let overrun = context.source.overrun
            if context.overrun(by: overrun) {
                reconfigure(&machine)
                context.observer.observed(.overran(bytes: overrun, budget: context.configuration.budget.bytes))
            }
            moveBrakes(now: now)
            return claimLostPositions(&machine, &lostPositions, now: now)
                + machine.ticked(now: now, lastPoll: context.source.lastPoll)
        }
    }

    /// What was read before a position was lost may be gone from the log: it is applied before a claim decides where to go on.
    private func claimLostPositions(
        _ machine: inout AssignmentMachine, _ lostPositions: inout Set<TopicPartition>, now: UInt64
    ) -> [AssignmentMachine.Action] {
        guard !lostPositions.isEmpty else { return [] }
        // Sorted: jitter is drawn for each in turn, and what follows from it must not hang on a set's order.
        let ready = lostPositions.filter { source in context.ledger.withLock { $0.isDrained(source) } }.sorted()
        lostPositions.subtract(ready)
        var actions: [AssignmentMachine.Action] = []
        for source in ready { actions += machine.positionLost(source, now: now, random: context.clock.random()) }
        return actions
    }

    /// Performs one action. Answers whether the pipeline has ended.
    private func perform(_ action: AssignmentMachine.Action) async throws -> Bool {
        switch action {
        case .claim:
            preconditionFailure("claims are started by the loop")
        case .begin(let entries):
            begin(entries)
        case .assignNothing:
            context.source.assign([], generation: 0)
        case .restart(let entry):
            context.ledger.withLock { $0.restarted(entry) }
            context.pool.renew(
                slot: entry.slot, generation: entry.generation, lowWatermark: context.configuration.lowWatermark,
                isOpen: control.restarted(entry))
            context.source.seek(PartitionStart(source: entry.source, offset: entry.offset), generation: entry.generation)
            context.source.creditsReturned()
            context.observer.observed(.claimed([Self.claim(entry)]))
        case .retract(let source, let slot, let generation):
            _ = context.ledger.withLock { $0.invalidated(source, generation: generation) }
            context.pool.close(slot: slot)
            control.retracted(source)
        case .drain:
            context.pool.close()
            control.retracted()
            context.isDraining.store(true, ordering: .sequentiallyConsistent)
            // The last batch may have left between the question whether all is drained and this store.
            if context.ledger.withLock({ $0.isDrained }) { try await context.inbox.send(.drained) }
        case .release(let commitsOffsets):
            await release(commitsOffsets: commitsOffsets)
        case .reportStopped(let source, let reason):
            context.observer.observed(.stopped(source, reason: reason))
        case .reportDrained(let isComplete, let nanoseconds):
            context.observer.observed(.drained(isComplete: isComplete, nanoseconds: nanoseconds))
        case .reportClaimFailed(let reason, let wait):
            context.observer.observed(.claimFailed(reason: reason, retryIn: wait))
        case .end:
            return true
        }
        return false
    }

    private func begin(_ entries: [OffsetLedgerMachine.Entry]) {
        context.isDraining.store(false, ordering: .sequentiallyConsistent)
        context.ledger.withLock { $0.assigned(entries) }
        board.assigned(entries)
        let generation = entries.first?.generation ?? 0
        context.pool.reset(
            slots: entries.count, generation: generation, share: context.configuration.share(partitions: entries.count),
            lowWatermark: context.configuration.lowWatermark, isOpen: true)
        let holds = control.assigned(entries)
        // Gates first: a partition that an operator has paused must not read a record of the new assignment.
        perform(holds.filter { $0.action == .shutGate })
        context.source.assign(entries.map { PartitionStart(source: $0.source, offset: $0.offset) }, generation: generation)
        perform(holds.filter { $0.action == .pause })
        context.observer.observed(.claimed(entries.map(Self.claim)))
        // Where the pipeline has long been full, they are paused before anything is fetched for them.
        moveBrakes(now: context.clock.now)
    }

    private func release(commitsOffsets: Bool) async {
        let offsets = context.ledger.withLock { ledger in
            let offsets = ledger.takeOffsetsToCommit()
            ledger.allInvalidated()
            return offsets
        }
        context.pool.close()
        if commitsOffsets, !offsets.isEmpty {
            await context.source.commitAndWait(offsets, until: context.clock.now + context.configuration.offsetCommitInterval)
        }
        context.isDraining.store(false, ordering: .sequentiallyConsistent)
        context.ledger.withLock { $0.released() }
        board.assigned([])
        _ = control.assigned([])
        context.pool.reset(
            slots: 0, generation: 0, share: context.configuration.budget, lowWatermark: context.configuration.lowWatermark,
            isOpen: false)
        context.source.unassign()
    }

    private func claim(_ partitions: [TopicPartition], claimRound: UInt64) async {
        let answer: AssignmentInput
        do {
            answer = .claimAnswered(claimRound: claimRound, try await claimer.claim(partitions))
        } catch {
            answer = .claimFailed(claimRound: claimRound, reason: "\(error)")
        }
        do {
            try await context.inbox.send(answer)
        } catch {
            // Cancelled: the pipeline ends, and nobody waits for an answer.
        }
    }

    /// Here and not where the change was made, so that it crosses no assignment.
    private func reconfigure(_ machine: inout AssignmentMachine) {
        let configuration = context.configuration
        machine.reconfigured(configuration)
        let partitions = context.ledger.withLock { $0.entries.count }
        let isReaderWaiting = context.pool.resize(
            total: configuration.budget, share: configuration.share(partitions: partitions),
            lowWatermark: configuration.lowWatermark)
        if isReaderWaiting { context.source.creditsReturned() }
    }

    private static func claim(_ entry: OffsetLedgerMachine.Entry) -> PipelineEvent.Claim {
        PipelineEvent.Claim(source: entry.source, epoch: entry.epoch, offset: entry.offset, lane: entry.lane)
    }
}
