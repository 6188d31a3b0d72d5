// Asks for the log's ends, so that lag stays true for partitions nobody reads at the moment.

import Records

struct LagStage: Sendable {
    let context: StageContext

    /// Asks at its interval, for as long as the task lives. A failed question leaves the last answer standing; its cause reaches
    /// the log through the source's own notices.
    func run() async throws {
        while true {
            let partitions = context.ledger.withLock { $0.entries.map(\.source) }
            if !partitions.isEmpty {
                do {
                    let ends = try await context.source.endOffsets(partitions)
                    context.ledger.withLock { ledger in
                        for (source, end) in ends { ledger.endRead(source, end: end) }
                    }
                } catch is CancellationError {
                    throw CancellationError()
                } catch {
                    context.observer.observed(.sourceNotice("End offsets could not be read: \(error)"))
                }
            }
            try await context.sleep { $0.lagInterval }
        }
    }
}
