// The third stage: one lane, one transaction at a time; batches that arrive meanwhile make up the next one.

import Backpressure
import Records
import Synchronization

/// One lane. While a transaction is in the database the next one grows in the lane's mailbox: transactions are small at low load and
/// large at high load.
struct ApplyStage: Sendable {
    let context: StageContext
    let lane: Int
    let applier: any BatchApplier

    func run() async throws {
        // The offset at which a partition's next transaction must begin: what this lane committed last. A new generation starts at its
        // claim.
        var committed: [TopicPartition: (generation: UInt64, next: Int64)] = [:]
        var limit = context.configuration.batch
        var queue = LaneQueueMachine<RoutedChanges>()
        var pacing = CommitPacingMachine()
        // Of tables whose last transaction failed.
        var attempts: [Int: Int] = [:]
        while true {
            if queue.isEmpty {
                guard let first = try await context.lanes[lane].receive() else { return }
                arrived(first, &queue)
            }
            takeArrived(&queue)
            // In steps, because a drain waits for what is under way, and what arrives meanwhile may be enough for a transaction.
            while !context.isDraining.load(ordering: .relaxed),
                let end = pacing.nextStart(
                    waiting: queue.level, limit: context.configuration.batch, now: context.clock.now)
            {
                context.waiting[lane].set(queue.level)
                try await context.clock.sleep(until: Swift.min(end, context.clock.now + CommitPacingMachine.longest))
                takeArrived(&queue)
            }
            let batch = context.configuration.batch
            limit = Credits(records: Swift.min(limit.records, batch.records), bytes: batch.bytes)
            let taken = queue.laneFreed(limit: limit, now: context.clock.now)
            context.waiting[lane].set(queue.level)
            if taken.isEmpty, let end = queue.nextRestEnd {
                try await context.clock.sleep(until: Swift.min(end, context.clock.now + CommitPacingMachine.longest))
                takeArrived(&queue)
                continue
            }
            context.watch.laneTookWork(lane, now: context.clock.now)
            let started = context.clock.now
            try await apply(taken, committed: &committed, limit: &limit, queue: &queue, attempts: &attempts)
            pacing.ended(started: started, now: context.clock.now, interval: context.configuration.commitInterval)
            context.watch.laneIsFree(lane)
        }
    }

    private func takeArrived(_ queue: inout LaneQueueMachine<RoutedChanges>) {
        while let more = context.lanes[lane].takeIfReady() { arrived(more, &queue) }
    }

    private func arrived(_ changes: RoutedChanges, _ queue: inout LaneQueueMachine<RoutedChanges>) {
        let source = changes.entry.source
        queue.arrived(changes, from: source, table: applier.table(of: source), cost: changes.cost)
    }

    private func apply(
        _ taken: [RoutedChanges], committed: inout [TopicPartition: (generation: UInt64, next: Int64)], limit: inout Credits,
        queue: inout LaneQueueMachine<RoutedChanges>, attempts: inout [Int: Int], mayYield: Bool = true
    ) async throws {
        guard let first = taken.first else { return }
        let table = applier.table(of: first.entry.source)
        var pending = taken
        var attempt = attempts.removeValue(forKey: table) ?? 0
        while true {
            pending = dropStale(pending)
            guard !pending.isEmpty else { return }
            try await waitForCircuit()
            let work = grouped(pending, committed: committed)
            let started = context.clock.now
            let result = try await transaction(work, attempt: attempt, bytes: pending.reduce(0) { $0 + $1.cost.bytes })
            answered(result)
            switch result {
            case .applied(let counts):
                complete(work, counts, started: started, &committed)
                limit.records = Swift.min(context.configuration.batch.records, limit.records * 2)
                return
            case .appliedInPart(let counts, let waiting):
                let isWaiting = Set(waiting.map(\.source))
                for part in work {
                    guard let partition = waiting.first(where: { $0.source == part.source }) else { continue }
                    invalidate(part)
                    context.inbox.send(.waits(partition, generation: part.generation))
                }
                complete(work.filter { !isWaiting.contains($0.source) }, counts, started: started, &committed)
                // What is left belongs to partitions that were invalidated, and is dropped.
                pending.removeAll { !isWaiting.contains($0.entry.source) }
            case .fenced(let partitions):
                for part in work where partitions.contains(part.source) {
                    invalidate(part)
                    context.inbox.send(.fenced(part.source, generation: part.generation))
                }
            case .stopped(let partitions, let reason):
                for part in work where partitions.contains(part.source) {
                    invalidate(part)
                    context.inbox.send(.stopped(part.source, generation: part.generation, reason: reason))
                }
            case .retry(let reason, let isOutage):
                takeArrived(&queue)
                if mayYield, !isOutage, queue.holdsOther(than: table, at: context.clock.now) {
                    // What this table waits for may take long, and is nothing to the others.
                    attempts[table] = attempt + 1
                    let end = retried(reason: reason, attempt: attempt)
                    return queue.putBack(pending.map { ($0, $0.entry.source, $0.cost) }, of: table, until: end)
                }
                try await wait(reason: reason, attempt: attempt)
                attempt += 1
            case .tooLarge(let reason):
                if pending.count > 1 {
                    // In order: the second half is only written once the first is durable.
                    limit.records = Swift.max(1, limit.records / 2)
                    let half = pending.count / 2
                    try await apply(
                        Array(pending[..<half]), committed: &committed, limit: &limit, queue: &queue, attempts: &attempts,
                        mayYield: false)
                    pending.removeFirst(half)
                } else {
                    try await wait(reason: reason, attempt: attempt)
                    attempt += 1
                }
            }
        }
    }

    /// The work is durable.
    private func complete(
        _ work: [PartitionBatches], _ counts: AppliedCounts, started: UInt64,
        _ committed: inout [TopicPartition: (generation: UInt64, next: Int64)]
    ) {
        for part in work { committed[part.source] = (part.generation, part.next) }
        let seconds = Double(context.clock.now - started) / 1e9
        context.observer.observed(.applied(lane: lane, work: work, counts: counts, seconds: seconds))
        context.watch.applied(records: work.reduce(0) { $0 + $1.batches.reduce(0) { $0 + $1.records.count } })
        guard !work.isEmpty else { return }
        context.commit.send(
            Completion(
                parts: work.map { part in
                    Completion.Part(
                        source: part.source, generation: part.generation, nextOffset: part.next,
                        credits: part.batches.reduce(.zero) { $0 + context.charge($1.records) })
                },
                isDurable: true))
    }

    private func transaction(_ work: [PartitionBatches], attempt: Int, bytes: Int) async throws -> ApplyResult {
        let isLarge = context.isLarge(bytes)
        if isLarge { try await context.largeTransaction.lock() }
        defer { if isLarge { context.largeTransaction.unlock() } }
        context.bytesInTransactions.add(bytes, ordering: .relaxed)
        defer { context.bytesInTransactions.subtract(bytes, ordering: .relaxed) }
        return try await applier.apply(work, attempt: attempt)
    }

    /// Drops work of an older generation, or of a partition that is fenced or stopped.
    private func dropStale(_ pending: [RoutedChanges]) -> [RoutedChanges] {
        var current: [RoutedChanges] = []
        var stale: [Completion.Part] = []
        for item in pending {
            if context.ledger.isCurrent(item.entry.source, generation: item.entry.generation) {
                current.append(item)
            } else {
                stale.append(Completion.Part(item.changes.records, credits: item.cost))
            }
        }
        context.drop(stale)
        return current
    }

    private func grouped(
        _ pending: [RoutedChanges], committed: [TopicPartition: (generation: UInt64, next: Int64)]
    ) -> [PartitionBatches] {
        var work: [PartitionBatches] = []
        var index: [TopicPartition: Int] = [:]
        for item in pending {
            let entry = item.entry
            if let at = index[entry.source] {
                work[at].batches.append(item.changes)
                continue
            }
            var expected = entry.offset
            if let known = committed[entry.source], known.generation == entry.generation { expected = known.next }
            index[entry.source] = work.count
            work.append(
                PartitionBatches(
                    source: entry.source, generation: entry.generation, epoch: entry.epoch, expected: expected,
                    batches: [item.changes]))
        }
        return work
    }

    private func invalidate(_ part: PartitionBatches) {
        _ = context.ledger.withLock { $0.invalidated(part.source, generation: part.generation) }
    }

    /// Waits until the circuit breaker admits this lane.
    private func waitForCircuit() async throws {
        while true {
            let now = context.clock.now
            let (admission, state) = context.circuit.withLock { ($0.admissionAsked(now: now), $0.state) }
            switch admission {
            case .proceed:
                if state == .halfOpen { context.observer.observed(.circuit(.halfOpen)) }
                return
            case .wait(let until):
                try await context.clock.sleep(until: until)
            }
        }
    }

    /// Reports the result to the circuit breaker: any result but an outage shows that the database answers.
    private func answered(_ result: ApplyResult) {
        if case .retry(_, isOutage: true) = result {
            let now = context.clock.now
            let random = context.clock.random()
            if context.circuit.withLock({ $0.failed(now: now, random: random) }) { context.observer.observed(.circuit(.open)) }
        } else if context.circuit.withLock({ $0.succeeded() }) {
            context.observer.observed(.circuit(.closed))
        }
    }

    private func wait(reason: String, attempt: Int) async throws {
        try await context.clock.sleep(until: retried(reason: reason, attempt: attempt))
    }

    /// A transaction is tried again. Returns when.
    private func retried(reason: String, attempt: Int) -> UInt64 {
        let delay = context.configuration.retry.delay(attempt: attempt, random: context.clock.random())
        context.observer.observed(.retrying(lane: lane, reason: reason, wait: delay))
        return context.clock.now + delay
    }
}
