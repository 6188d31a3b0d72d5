// Runs the assignment machine: the only one that gives the source commands about partitions.

import Backpressure
import Records
import Synchronization

/// Takes inputs from the inbox one after the other, so that claims, revokes, fences and the end never cross.
///
/// Other threads read, decode, write and complete batches meanwhile. They ask the ledger (is this generation valid?) and the credit
/// pool (is this account open?), so correctness depends on the order of the steps here:
///
/// - **begin**: ledger, pause state and accounts know the new generation before `source.assign`, because the reader may hand over a
///   batch at once: without a ledger entry it would be dropped, without an account it would be read without limit. Accounts of
///   partitions that an operator has paused are closed before `assign`, so that no record of them is read. Pauses in the source come
///   after `assign`, which forgets them, and before the reader has had time to fetch much.
/// - **retract**: the ledger invalidates the generation first, so that no lane writes it any more; then the account is closed, so that
///   no more is read for nothing; then the pause state learns it, so that an operator's resume does not open the account.
/// - **restart** (after a retract, or of a partition that `begin` left unclaimed, with its account closed): ledger, then account, then
///   `source.seek`, for the reasons of begin; then the reader is woken, which has slept on the closed account.
/// - **drain**: accounts are closed before `isDraining` is set, so that what is under way becomes less only. `isDraining` is set before
///   the ledger is asked whether it is empty: the commit stage completes a batch and then reads `isDraining`, so one of the two sees it.
/// - **release**: the offsets are taken and the ledger is invalidated under one lock, so that nothing is written after the last offset
///   commit. The commit comes before `unassign`, since a member cannot commit for partitions it has given back. `source.unassign` is
///   the last step: from then on another member may have the partitions, so nothing of ours may be valid or open by then.
///
/// Lost partitions belong to another member already: the poll stage invalidates the ledger before it even sends `revoked`.
struct AssignmentStage: Sendable {
    let context: StageContext
    let claimer: any OffsetClaimer

    /// Runs until the pipeline has ended.
    /// - Throws: the source's error where it died; ``TooManyPartitions`` where it is too small for what the group gave.
    func run() async throws {
        var machine = AssignmentMachine(configuration: context.configuration)
        var failure: (any Error)?
        // Discarding: no task waits for a claim's end, and a process that claims for months must not keep them all.
        try await withThrowingDiscardingTaskGroup { claims in
            while let input = try await context.inbox.receive() {
                switch input {
                case .sourceFailed(let error): failure = error
                case .assigned(let partitions): failure = excess(of: partitions) ?? failure
                default: break
                }
                var hasEnded = false
                var actions = self.actions(for: input, &machine)
                context.claimRound.store(machine.claimRound, ordering: .releasing)
                var next = 0
                while next < actions.count {
                    switch actions[next] {
                    case .claim(let claimRound, let requests):
                        claims.addTask { await claim(requests, claimRound: claimRound) }
                    case .drain:
                        // The commit stage reports the end of the drain only if something leaves it after `isDraining` was set.
                        if drain() { actions += machine.drained(now: context.clock.now) }
                    case let action:
                        hasEnded = await perform(action) || hasEnded
                    }
                    next += 1
                }
                let published = PublishedAssignment(
                    state: machine.state, stopped: machine.stoppedPartitions, unclaimed: machine.unclaimedPartitions)
                context.assignment.withLock { $0 = published }
                if hasEnded { break }
            }
            claims.cancelAll()
        }
        if let failure { throw failure }
    }

    private func actions(for input: AssignmentInput, _ machine: inout AssignmentMachine) -> [AssignmentMachine.Action] {
        let now = context.clock.now
        switch input {
        case .assigned(let partitions):
            context.observer.observed(.rebalanced(assigned: partitions, revoked: [], isLost: false))
            return excess(of: partitions) == nil ? machine.assigned(partitions, now: now) : machine.sourceFailed()
        case .revoked(let partitions, let isLost):
            context.observer.observed(.rebalanced(assigned: [], revoked: partitions, isLost: isLost))
            return machine.revoked(isLost: isLost, isDrained: context.ledger.withLock { $0.isDrained }, now: now)
        case .claimAnswered(let claimRound, let results):
            return machine.claimAnswered(
                claimRound: claimRound, results, now: now, random: context.clock.random())
        case .fenced(let source, let generation):
            let actions = machine.fenced(
                source, generation: generation, hasProgressed: context.ledger.withLock { $0.hasProgressed(source) }, now: now,
                random: context.clock.random())
            // Work of an older generation is refused, too, once the partition is claimed anew: no other member did that.
            if !actions.isEmpty { context.observer.observed(.fenced(source)) }
            return actions
        case .waits(let waiting, let generation):
            let actions = machine.waits(waiting.source, generation: generation, retryIn: waiting.retryIn, now: now)
            if !actions.isEmpty { context.observer.observed(.waits(waiting)) }
            return actions
        case .positionLost(let source, let generation, let mismatch, let reason):
            if let generation, generation != machine.partitions.generation(of: source) { return [] }
            // The lag stage says it again and again, until what was read before is applied.
            let isKnown = machine.lostPositions.contains(source)
            let actions = positionLost(source, mismatch: mismatch, &machine, now: now)
            if !isKnown { context.observer.observed(.positionLost(source, reason: reason)) }
            return actions
        case .notice(let sentence):
            context.observer.observed(.sourceNotice(sentence))
            return []
        case .stopped(let source, let generation, let reason):
            return machine.stopped(
                source, generation: generation, reason: reason,
                hasProgressed: context.ledger.withLock { $0.hasProgressed(source) }, now: now, random: context.clock.random())
        case .retryRequested(let partitions):
            machine.retryRequested(partitions, now: now)
            return []
        case .sourceFailed, .sourceClosed:
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
            perform(context.pauses.operatorDecided(pauses))
            return []
        case .tick:
            let overrun = context.source.overrun
            if context.overrun(by: overrun) {
                reconfigure(&machine)
                context.observer.observed(.overran(bytes: overrun, budget: context.configuration.budget.bytes))
            }
            sampleCredits(now: now)
            var actions: [AssignmentMachine.Action] = []
            for source in machine.lostPositions { actions += positionLost(source, &machine, now: now) }
            return actions + machine.ticked(now: now, lastPoll: context.source.lastPoll)
        }
    }

    /// More partitions than the source was made for: with them it would exceed its memory.
    private func excess(of assigned: [TopicPartition]) -> TooManyPartitions? {
        let limit = context.source.partitionLimit
        return assigned.count > limit ? TooManyPartitions(assigned: assigned.count, limit: limit) : nil
    }

    private func positionLost(
        _ source: TopicPartition, mismatch: Int64? = nil, _ machine: inout AssignmentMachine, now: UInt64
    ) -> [AssignmentMachine.Action] {
        let (isDrained, hasProgressed) = context.ledger.withLock { ($0.isDrained(source), $0.hasProgressed(source)) }
        // What was read before is applied. Nothing more may be read: another log may have come meanwhile.
        if !isDrained, let entry = context.ledger.withLock({ $0.entries.first { $0.source == source } }) {
            context.pool.close(slot: entry.slot)
        }
        return machine.positionLost(
            source, mismatch: mismatch, isDrained: isDrained, hasProgressed: hasProgressed, now: now,
            random: context.clock.random())
    }

    /// Performs one action. Returns whether the pipeline has ended.
    private func perform(_ action: AssignmentMachine.Action) async -> Bool {
        switch action {
        case .claim, .drain:
            preconditionFailure("performed by the loop")
        case .begin(let generation, let entries, let unclaimed):
            begin(entries, unclaimed: unclaimed, generation: generation)
        case .assignNothing:
            context.source.assign([], unclaimed: [], generation: 0)
        case .restart(let entry):
            context.ledger.withLock { $0.restarted(entry) }
            let (isOpen, steps) = context.pauses.restarted(entry)
            context.pool.renew(
                slot: entry.slot, generation: entry.generation, lowWatermark: context.configuration.lowWatermark, isOpen: isOpen)
            context.source.seek(entry.start, generation: entry.generation)
            perform(steps)
            context.source.creditsReturned()
            context.observer.observed(.claimed([Self.claim(entry)]))
        case .retract(let source, let slot, let generation):
            _ = context.ledger.withLock { $0.invalidated(source, generation: generation) }
            context.pool.close(slot: slot)
            context.pauses.retracted(source)
        case .release(let commitUntil):
            await release(commitUntil: commitUntil)
        case .reportStopped(let source, let reason):
            context.observer.observed(.stopped(source, reason: reason))
        case .reportDrained(let isComplete, let nanoseconds):
            context.observer.observed(.drained(isComplete: isComplete, nanoseconds: nanoseconds))
        case .reportClaimFailed(let partitions, let reason, let wait):
            context.observer.observed(.claimFailed(partitions, reason: reason, retryIn: wait))
        case .end:
            return true
        }
        return false
    }

    private func begin(_ entries: [OffsetLedgerMachine.Entry], unclaimed: [TopicPartition], generation: UInt64) {
        context.isDraining.store(false, ordering: .sequentiallyConsistent)
        context.ledger.withLock { $0.assigned(entries) }
        let steps = context.pauses.assigned(entries)
        let slots = entries.count + unclaimed.count
        context.pool.reset(
            slots: slots, generation: generation, share: context.configuration.share(partitions: slots),
            lowWatermark: context.configuration.lowWatermark, isOpen: true)
        perform(steps.filter { $0.action == .closeAccount })
        for slot in entries.count..<slots { context.pool.close(slot: slot) }
        context.source.assign(
            entries.map(\.start), unclaimed: unclaimed, generation: generation)
        perform(steps.filter { $0.action == .pause })
        if !entries.isEmpty { context.observer.observed(.claimed(entries.map(Self.claim))) }
        // Where the pipeline has long been without credits, they are paused before anything is fetched for them.
        sampleCredits(now: context.clock.now)
    }

    /// Stops reading. Returns whether nothing is under way.
    private func drain() -> Bool {
        context.pool.close()
        context.pauses.retracted()
        context.isDraining.store(true, ordering: .sequentiallyConsistent)
        return context.ledger.withLock { $0.isDrained }
    }

    private func release(commitUntil: UInt64?) async {
        let offsets = context.ledger.withLock { ledger in
            let offsets = ledger.takeOffsetsToCommit()
            ledger.allInvalidated()
            return offsets
        }
        context.pool.close()
        if let commitUntil, !offsets.isEmpty { await context.source.commitAndWait(offsets, until: commitUntil) }
        context.isDraining.store(false, ordering: .sequentiallyConsistent)
        context.ledger.withLock { $0.released() }
        _ = context.pauses.assigned([])
        context.pool.reset(
            slots: 0, generation: 0, share: context.configuration.budget, lowWatermark: context.configuration.lowWatermark,
            isOpen: false)
        context.source.unassign()
    }

    private func claim(_ requests: [ClaimRequest], claimRound: UInt64) async {
        let unanswered = Mutex(Set(requests.map(\.source)))
        var reason = "the claim ended without an answer"
        do {
            try await claimer.claim(
                requests, isWanted: { [context] in context.claimRound.load(ordering: .acquiring) == claimRound },
                answer: { [context] results in
                    unanswered.withLock { $0.subtract(results.keys) }
                    context.inbox.send(.claimAnswered(claimRound: claimRound, results))
                })
        } catch {
            reason = "\(error)"
        }
        let rest = unanswered.withLock { $0 }
        guard !rest.isEmpty else { return }
        let results = Dictionary(uniqueKeysWithValues: rest.map { ($0, ClaimResult.later(reason: reason)) })
        context.inbox.send(.claimAnswered(claimRound: claimRound, results))
    }

    /// Here and not where the change was made, so that it crosses no assignment.
    private func reconfigure(_ machine: inout AssignmentMachine) {
        let configuration = context.configuration
        machine.reconfigured(configuration)
        let isReaderWaiting = context.pool.resize(
            total: configuration.budget, share: configuration.share(partitions: context.pool.slots),
            lowWatermark: configuration.lowWatermark)
        if isReaderWaiting { context.source.creditsReturned() }
    }

    /// Samples the credits of every partition, and pauses or resumes it in the source.
    private func sampleCredits(now: UInt64) {
        for change in context.pauses.creditsSampled(context.pool, context.configuration, now: now) {
            perform(change.steps)
            context.observer.observed(change.isPaused ? .paused(change.source) : .resumed(change.source))
            if change.isFlap { context.observer.observed(.flapped(change.source)) }
        }
    }

    private func perform(_ steps: [PauseController.Step]) {
        for step in steps {
            switch step.action {
            case .closeAccount: context.pool.close(slot: step.slot)
            case .openAccount: context.pool.open(slot: step.slot, generation: step.generation)
            case .pause: context.source.pause(step.source)
            case .resume: context.source.resume(step.source)
            }
        }
    }

    private static func claim(_ entry: OffsetLedgerMachine.Entry) -> PipelineEvent.Claim {
        PipelineEvent.Claim(source: entry.source, epoch: entry.epoch, offset: entry.offset, lane: entry.lane)
    }
}
