// Says what shedding is told about the pipe: of this process's own pipeline, or of a group that Kafka speaks of.

import Admission
import Pipeline

extension SheddingInputs {
    /// What one partition says of its lag.
    private struct Part {
        let backlog: Int64?
        let seconds: Double?
        let answerAge: Double
    }

    /// How long an answer of the brokers counts, in intervals between questions; 3 s at least. What is older is not known.
    private static let patience = 3.0

    /// This process's own pipeline.
    /// - Parameters:
    ///   - lagInterval: seconds between questions for the logs' ends.
    ///   - now: monotonic nanoseconds, just before the snapshot was taken.
    init(_ snapshot: PipelineSnapshot, lagInterval: Double, now: UInt64) {
        self.init()
        lag = Self.lag(
            zip(snapshot.positions, snapshot.lags).map { position, lag in
                Part(backlog: position.backlog, seconds: lag.seconds, answerAge: lag.answerAgeSeconds)
            }, drainRate: snapshot.rates.drain, lagInterval: lagInterval, now: now)
        if !snapshot.positions.isEmpty { credits = Account(free: snapshot.freeCredits, total: snapshot.totalCredits) }
    }

    /// A group that others are members of; nobody here knows of its credits.
    init(_ group: GroupLag, lagInterval: Double, now: UInt64) {
        self.init()
        lag = Self.lag(
            group.partitions.map { Part(backlog: $0.backlog, seconds: $0.seconds, answerAge: $0.answerAgeSeconds) },
            drainRate: group.rates.drain, lagInterval: lagInterval, now: now)
    }

    /// With the lag of the whole group, where that is longer than what is known here of its own part. Committed offsets are behind what is
    /// applied: a process that has every partition knows better.
    func joined(by group: SheddingInputs) -> SheddingInputs {
        guard let all = group.lag, all.records > lag?.records ?? -1 else { return self }
        var facts = self
        facts.lag = all
        return facts
    }

    /// The partitions of which something is known, together: a lower bound where others are silent. `nil` where all are.
    private static func lag(_ parts: [Part], drainRate: Double, lagInterval: Double, now: UInt64) -> Lag? {
        let limit = patience * Swift.max(1, lagInterval)
        let known = parts.filter { $0.backlog != nil && $0.answerAge <= limit }
        guard let youngest = known.map(\.answerAge).min() else { return nil }
        let age = UInt64(Swift.max(0, youngest) * 1e9)
        return Lag(
            records: Double(known.reduce(0) { $0 + ($1.backlog ?? 0) }), seconds: known.compactMap(\.seconds).max(),
            measuredAt: now > age ? now - age : 0, drainRate: drainRate)
    }
}
