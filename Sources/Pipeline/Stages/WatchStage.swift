// Looks at the pipeline at every tick, so that a stall is found and told also while nobody scrapes.

import Records

struct WatchStage: Sendable {
    let context: StageContext
    let surroundings: @Sendable () -> PipelineWatch.Surroundings

    /// Looks for as long as the task lives.
    func run() async throws {
        var reason: StallReason?
        while true {
            try await context.clock.sleep(until: context.clock.now + context.configuration.tick)
            switch context.watch.lookForStall(at: context, surroundings()) {
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
