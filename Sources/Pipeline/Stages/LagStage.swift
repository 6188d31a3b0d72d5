// Asks for the logs' ends, so that lag is known also for partitions that are not read at the moment.

import Backpressure
import Records

struct LagStage: Sendable {
    let context: StageContext

    /// Asks at its interval, and at once for partitions that are new, until cancelled. Every partition in the ledger is asked for: also
    /// those that are paused, fenced or stopped.
    ///
    /// Without partitions the last ones are asked for: a member loses its partitions when the brokers are away for a session time-out,
    /// and the stall check must see that they do not answer.
    ///
    /// After a failure the last ends stay while their age grows. How far a log can be read is not known then: an open transaction may have
    /// ended. The first failure in a row of either question is reported.
    func run() async throws {
        var asked: Set<TopicPartition> = []
        var last: UInt64?
        var (hasFailed, hasReadableFailed) = (false, false)
        while true {
            let partitions = context.ledger.withLock { $0.entries.map(\.source) }
            let now = context.clock.now
            let hasNew = !asked.isSuperset(of: partitions)
            if !partitions.isEmpty { asked = Set(partitions) }
            // The interval may have changed meanwhile.
            let isDue = last.map { now - $0 >= context.configuration.lagInterval } ?? true
            if !asked.isEmpty, isDue || hasNew {
                let question = asked.sorted()
                context.watch.endsAsked(question, now: now)
                hasFailed = try await ask("End offsets could not be read; lag is computed from the last ones", isQuiet: hasFailed)
                {
                    try await readEnds(of: question)
                }
                if hasFailed {
                    context.ledger.withLock { $0.readableEndsRead([:]) }
                } else {
                    hasReadableFailed = try await ask(
                        "How far the logs can be read could not be learned; a transaction that hangs would not be seen",
                        isQuiet: hasReadableFailed
                    ) { try await readReadableEnds() }
                }
                last = context.clock.now
            }
            let pause = Swift.min(context.configuration.tick, context.configuration.lagInterval)
            try await context.clock.sleep(until: context.clock.now + pause)
        }
    }

    private func readEnds(of partitions: [TopicPartition]) async throws {
        let positions = context.ledger.withLock { $0.positions }
        let answer = try await context.source.endOffsets(partitions)
        context.ledger.withLock { ledger in for (source, end) in answer.ends { ledger.endRead(source, end: end) } }
        context.watch.endsRead(answer.ends, now: context.clock.now)
        for position in positions { check(position, answer) }
    }

    /// Gives up the position of a partition whose log is not there any more, as the answer shows, or is shorter than what was applied
    /// before the question: its topic was deleted, and may be created again. librdkafka would go on in the new log at the old position.
    private func check(_ position: OffsetLedgerMachine.Position, _ answer: LogEnds) {
        let source = position.source
        guard context.ledger.isCurrent(source, generation: position.entry.generation) else { return }
        if answer.missing.contains(source) {
            context.inbox.send(.positionLost(source, mismatch: nil, reason: "its topic does not exist any more"))
        } else if let end = answer.ends[source], end < position.applied {
            let reason = "the log ends at \(end), before the applied offset \(position.applied)"
            context.inbox.send(.positionLost(source, mismatch: nil, reason: reason))
        }
    }

    /// A backlog that cannot be read belongs to an open transaction.
    private func readReadableEnds() async throws {
        var readable: [TopicPartition: Int64] = [:]
        defer { context.ledger.withLock { $0.readableEndsRead(readable) } }
        let behind = context.ledger.withLock { $0.positions.filter { $0.backlog ?? 0 > 0 }.map(\.source) }
        if !behind.isEmpty { readable = try await context.source.readableEnds(behind) }
    }

    /// Returns whether the question failed; says so unless `isQuiet`.
    private func ask(_ failure: String, isQuiet: Bool, _ question: () async throws -> Void) async throws -> Bool {
        do {
            try await question()
            return false
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            if !isQuiet { context.observer.observed(.sourceNotice("\(failure): \(error)")) }
            return true
        }
    }
}
