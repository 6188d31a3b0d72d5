// The sizes and waits that the pipeline's tests run with.

import Backpressure

@testable import Pipeline

/// Short waits and small sizes: so that a test sees many rounds.
func brisk(lanes: Int = 2) -> PipelineConfiguration {
    var configuration = PipelineConfiguration()
    configuration.lanes = lanes
    configuration.budget = Credits(records: 400, bytes: 1 << 20)
    configuration.partitionRecords = 100
    configuration.batch = Credits(records: 120, bytes: 1 << 20)
    configuration.tick = 2_000_000
    configuration.offsetCommitInterval = 5_000_000
    configuration.lagInterval = 5_000_000
    configuration.claimDeadline = 20_000_000
    configuration.drainDeadline = 500_000_000
    configuration.retry = Backoff(initial: 1_000_000, maximum: 10_000_000)
    configuration.reclaim = Backoff(initial: 4_000_000, maximum: 20_000_000)
    configuration.circuit = Backoff(initial: 2_000_000, maximum: 10_000_000)
    return configuration
}
