// Checks for a stall at every tick, so that it is found without a scrape of the metrics.

import Records

struct WatchStage: Sendable {
    let context: StageContext

    /// Checks until cancelled.
    func run() async throws {
        var reason: StallReason?
        while true {
            try await context.clock.sleep(until: context.clock.now + context.configuration.tick)
            switch context.watch.checkStall(context) {
            case .none: break
            case .entered(let present, let nanoseconds):
                reason = present
                context.observer.observed(.stalled(present, nanoseconds: nanoseconds))
            case .left(let nanoseconds):
                if let reason { context.observer.observed(.stallEnded(reason, nanoseconds: nanoseconds)) }
                reason = nil
            }
        }
    }
}
