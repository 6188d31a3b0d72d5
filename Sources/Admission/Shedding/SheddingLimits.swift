// Says when an ingress begins to refuse requests, and for what.

/// What a request is refused for. In the order of importance: of equals the first is named.
public enum SheddingCause: Int, Sendable, CaseIterable {
    /// Records that are in the log and not applied.
    case lag
    /// Age of the oldest of them.
    case timeLag
    /// Credits of the pipeline behind the log.
    case credits
    /// Records on their way to the brokers.
    case producerQueue

    /// As metrics, answers and configuration call it.
    public var name: String {
        switch self {
        case .lag: "lag"
        case .timeLag: "time_lag"
        case .credits: "credits"
        case .producerQueue: "producer_queue"
        }
    }
}

/// The thresholds. Each counts by itself; 0 turns it off.
public struct SheddingLimits: Sendable, Equatable {
    /// Unapplied records at which refusing begins; at twice as many everything is refused.
    public var lagRecords: Int
    /// Seconds of age of the oldest unapplied record at which refusing begins; at twice as many everything is refused.
    public var lagSeconds: Double
    /// Share of the pipeline's credits, 0…1: when less is free refusing begins; when nothing is free everything is refused.
    public var credits: Double
    /// Share of what the producer may hold, 0…1, at which refusing begins; when it is full everything is refused.
    public var producerQueue: Double
    /// The longest time a caller is told to wait, jitter aside, seconds.
    public var longestRetry: Double

    /// The thresholds; 0 turns one off.
    public init(
        lagRecords: Int = 0, lagSeconds: Double = 0, credits: Double = 0, producerQueue: Double = 0, longestRetry: Double = 60
    ) {
        self.lagRecords = lagRecords
        self.lagSeconds = lagSeconds
        self.credits = credits
        self.producerQueue = producerQueue
        self.longestRetry = Swift.max(1, longestRetry)
    }

    /// The band of one cause; `nil`: it is off.
    func band(of cause: SheddingCause) -> SheddingThreshold? {
        switch cause {
        case .lag: lagRecords > 0 ? SheddingThreshold(start: Double(lagRecords), full: 2 * Double(lagRecords)) : nil
        case .timeLag: lagSeconds > 0 ? SheddingThreshold(start: lagSeconds, full: 2 * lagSeconds) : nil
        case .credits: credits > 0 ? SheddingThreshold(start: 1 - credits, full: 1) : nil
        case .producerQueue: producerQueue > 0 && producerQueue < 1 ? SheddingThreshold(start: producerQueue, full: 1) : nil
        }
    }
}

/// Where a level begins to count, where it counts in full, and where it has to fall to be forgotten.
struct SheddingThreshold: Equatable {
    /// Nothing is refused any more at or below this.
    let low: Double
    /// Refusing begins above this.
    let start: Double
    /// Everything is refused from here on.
    let full: Double

    init(start: Double, full: Double) {
        self.start = start
        self.full = full
        low = start - Swift.min(full - start, start) / 2
    }

    /// The share to refuse while the level rises.
    func rising(_ level: Double) -> Double { Self.clamp((level - start) / (full - start)) }

    /// The share to refuse while the level falls: never less than ``rising(_:)``.
    func falling(_ level: Double) -> Double { Self.clamp((level - low) / (full - start)) }

    private static func clamp(_ share: Double) -> Double { Swift.min(1, Swift.max(0, share)) }
}
