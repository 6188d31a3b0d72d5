// The fourth stage: tells the ledger what is durable, which returns the credits, and commits applied offsets to the group.

import Backpressure
import Synchronization

struct CommitStage: Sendable {
    let context: StageContext

    /// Takes completions until cancelled.
    func run() async throws {
        while let completion = try await context.commit.receive() {
            var isReaderWaiting = false
            for part in completion.parts {
                if context.ledger.completed(part, isDurable: completion.isDurable) { isReaderWaiting = true }
            }
            if isReaderWaiting { context.source.creditsReturned() }
            if context.isDraining.load(ordering: .acquiring), context.ledger.withLock({ $0.isDrained }) {
                context.inbox.send(.drained)
            }
        }
    }

    /// Commits the applied offsets to the group at an interval, until cancelled.
    func commitOffsets() async throws {
        while true {
            try await context.sleep { $0.offsetCommitInterval }
            let offsets = context.ledger.withLock { $0.takeOffsetsToCommit() }
            if !offsets.isEmpty { context.source.commit(offsets) }
        }
    }
}
