// Makes snapshots of a pipeline.

import Backpressure
import Records

@testable import Pipeline

/// The snapshot of a worker with one partition.
func pipelineState(
    applied: Int64 = 5, end: Int64? = 15, lagSeconds: Double? = 12.5, secondsToDrain: Double? = .infinity,
    stall: StallReason? = nil, pausedByOperator: String? = nil, stopped: [StopReason] = [], isAway: Bool = false
) -> PipelineSnapshot {
    let source = TopicPartition("t", 3)
    let position = OffsetLedgerMachine.Position(
        entry: .init(source: source, slot: 0, lane: 0, generation: 1, epoch: 1, offset: 0), isValid: true, applied: applied,
        committed: nil, end: end, oldestTimestamp: nil, outstanding: .zero, settled: applied)
    return PipelineSnapshot(
        state: .running, stopped: stopped.map { .init(source: source, reason: $0) }, unclaimed: [], paused: [],
        pausedByOperator: pausedByOperator.map { [source: $0] } ?? [:],
        positions: [position],
        lags: [.init(source: source, seconds: lagSeconds, answerAgeSeconds: 0.5)],
        rates: .init(drain: 100, arrival: 40, secondsToDrain: secondsToDrain),
        stall: stall.map { .init(reason: $0, seconds: 45) }, laneBusySeconds: [nil], pollAgeSeconds: 0,
        circuit: isAway ? .open : .closed,
        freeCredits: .zero, totalCredits: .zero, decodeQueue: .zero, laneQueues: [.zero], wallMilliseconds: 0)
}
