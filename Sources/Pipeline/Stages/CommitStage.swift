// The fourth stage: tells the ledger what is durable, refunds the credits, and mirrors the frontier to the log's group.

import Backpressure
import Synchronization

struct CommitStage: Sendable {
    let context: StageContext

    /// Takes completions until the channel ends.
    func run() async throws {
        while let completion = try await context.commit.receive() {
            var isReaderWaiting = false
            for part in completion.parts {
                if context.ledger.completed(part, isDurable: completion.isDurable) { isReaderWaiting = true }
            }
            if isReaderWaiting { context.source.creditsReturned() }
            if context.isDraining.load(ordering: .acquiring), context.ledger.withLock({ $0.isDrained }) {
                try await context.inbox.send(.drained)
            }
        }
    }

    /// Mirrors the frontier at its interval, for as long as the task lives.
    func mirror() async throws {
        while true {
            try await context.sleep { $0.mirrorInterval }
            let frontier = context.ledger.withLock { $0.frontierToMirror() }
            if !frontier.isEmpty { context.source.mirror(frontier) }
        }
    }
}
