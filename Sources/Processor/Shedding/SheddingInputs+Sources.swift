// Makes the inputs of load shedding from this process's own pipeline, or from the lag of the consumer group.

import Admission
import Pipeline

extension SheddingInputs {
    /// The lag of one partition.
    private typealias PartitionLag = (backlog: Int64?, seconds: Double?, answerAge: Double)

    /// How long an answer of the brokers counts, in lag intervals, each taken as 1 s at least. Older lag is unknown.
    private static let intervalsOfValidity = 3.0

    /// The inputs from this process's own pipeline.
    /// - Parameters:
    ///   - lagInterval: seconds between two requests for the end offsets.
    ///   - now: monotonic nanoseconds, just before the snapshot was taken.
    init(_ snapshot: PipelineSnapshot, lagInterval: Double, now: UInt64) {
        self.init()
        lag = Self.lag(
            zip(snapshot.positions, snapshot.lags).map { position, lag in
                (position.backlog, lag.seconds, lag.answerAgeSeconds)
            }, drainRate: snapshot.rates.drain, lagInterval: lagInterval, now: now)
        if !snapshot.positions.isEmpty { credits = PipelineCredits(free: snapshot.freeCredits, total: snapshot.totalCredits) }
    }

    /// The inputs from the lag of the whole group; its credits are unknown.
    init(_ group: GroupLag, lagInterval: Double, now: UInt64) {
        self.init()
        lag = Self.lag(
            group.partitions.map { ($0.backlog, $0.seconds, $0.answerAgeSeconds) },
            drainRate: group.rates.drain, lagInterval: lagInterval, now: now)
    }

    /// The same with the lag of the whole group if that is longer. Committed offsets follow the applied ones: the pipeline of a process that
    /// has every partition knows better.
    func merged(with group: SheddingInputs) -> SheddingInputs {
        guard let all = group.lag, all.records > lag?.records ?? -1 else { return self }
        var inputs = self
        inputs.lag = all
        return inputs
    }

    /// The lag of all partitions whose lag is known, a lower bound; `nil`: of none it is.
    private static func lag(_ partitions: [PartitionLag], drainRate: Double, lagInterval: Double, now: UInt64) -> Lag? {
        let limit = intervalsOfValidity * Swift.max(1, lagInterval)
        let known = partitions.filter { $0.backlog != nil && $0.answerAge <= limit }
        guard let youngest = known.map(\.answerAge).min() else { return nil }
        let age = UInt64(Swift.max(0, youngest) * 1e9)
        return Lag(
            records: Double(known.reduce(0) { $0 + ($1.backlog ?? 0) }), seconds: known.compactMap(\.seconds).max(),
            measuredAt: now > age ? now - age : 0, drainRate: drainRate)
    }
}
