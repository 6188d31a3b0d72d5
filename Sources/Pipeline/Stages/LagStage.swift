// Asks for the log's ends, so that lag stays true for partitions nobody reads at the moment.

import Records

struct LagStage: Sendable {
    let context: StageContext

    /// Asks at its interval, and at once for partitions that are new, for as long as the task lives. Every partition in the ledger is
    /// asked for, read or not: paused, gated, claimed again or stopped.
    ///
    /// Without partitions the last ones are asked for: brokers that are gone for a session time-out cost the member its partitions,
    /// and that they do not answer must be known all the same.
    ///
    /// A failed question leaves the last answers standing while their age grows; the first failure in a row is told.
    func run() async throws {
        var asked: Set<TopicPartition> = []
        var last: UInt64?
        var hasFailed = false
        while true {
            let partitions = context.ledger.withLock { $0.entries.map(\.source) }
            let now = context.clock.now
            let hasNew = !asked.isSuperset(of: partitions)
            if !partitions.isEmpty { asked = Set(partitions) }
            // The interval is looked at each time: it may change while it passes.
            let isDue = last.map { now - $0 >= context.configuration.lagInterval } ?? true
            if !asked.isEmpty, isDue || hasNew {
                let question = asked.sorted()
                context.watch.endsAsked(question, now: now)
                hasFailed = try await ask(question, isQuiet: hasFailed)
                last = context.clock.now
            }
            let pause = Swift.min(context.configuration.tick, context.configuration.lagInterval)
            try await context.clock.sleep(until: context.clock.now + pause)
        }
    }

    /// Answers whether the question failed.
    private func ask(_ partitions: [TopicPartition], isQuiet: Bool) async throws -> Bool {
        do {
            let ends = try await context.source.endOffsets(partitions)
            context.ledger.withLock { ledger in for (source, end) in ends { ledger.endRead(source, end: end) } }
            context.watch.endsRead(ends, now: context.clock.now)
            return false
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            if !isQuiet {
                context.observer.observed(
                    .sourceNotice("End offsets could not be read; lag is what was known before: \(error)"))
            }
            return true
        }
    }
}
