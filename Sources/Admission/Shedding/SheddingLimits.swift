// Owns the causes and the thresholds of load shedding.

/// Why requests are shed. With equal shares the first is named.
public enum SheddingCause: Int, Sendable, CaseIterable {
    /// Consumer lag in records.
    case lag
    /// Consumer lag in seconds: the age of the oldest unapplied record.
    case timeLag
    /// Used share of the pipeline's credits.
    case credits
    /// Used share of the producer's queue: records that no broker has acknowledged yet.
    case producerQueue

    /// Its name in metrics, responses and configuration.
    public var name: String {
        switch self {
        case .lag: "lag"
        case .timeLag: "time_lag"
        case .credits: "credits"
        case .producerQueue: "producer_queue"
        }
    }
}

/// The thresholds, one for each cause; 0 turns one off.
public struct SheddingLimits: Sendable, Equatable {
    /// Consumer lag in records above which requests are shed; at twice as many all are.
    public var lagRecords: Int
    /// Consumer lag in seconds above which requests are shed; at twice as many all are.
    public var lagSeconds: Double
    /// Free share of the pipeline's credits, 0…1, below which requests are shed; with none free all are.
    public var credits: Double
    /// Used share of the producer's queue, 0…1, above which requests are shed; when it is full all are.
    public var producerQueue: Double
    /// The longest Retry-After in seconds, without jitter.
    public var longestRetry: Double

    /// 0 turns a threshold off.
    public init(
        lagRecords: Int = 0, lagSeconds: Double = 0, credits: Double = 0, producerQueue: Double = 0, longestRetry: Double = 60
    ) {
        self.lagRecords = lagRecords
        self.lagSeconds = lagSeconds
        self.credits = credits
        self.producerQueue = producerQueue
        self.longestRetry = Swift.max(1, longestRetry)
    }

    /// The threshold of one cause; `nil`: it is off.
    func threshold(of cause: SheddingCause) -> SheddingThreshold? {
        switch cause {
        case .lag: lagRecords > 0 ? SheddingThreshold(start: Double(lagRecords), full: 2 * Double(lagRecords)) : nil
        case .timeLag: lagSeconds > 0 ? SheddingThreshold(start: lagSeconds, full: 2 * lagSeconds) : nil
        case .credits: credits > 0 ? SheddingThreshold(start: 1 - credits, full: 1) : nil
        case .producerQueue: producerQueue > 0 && producerQueue < 1 ? SheddingThreshold(start: producerQueue, full: 1) : nil
        }
    }
}

/// The levels between which the shed share goes from 0 to 1.
struct SheddingThreshold: Equatable {
    /// A falling level at or below this sheds nothing.
    let low: Double
    /// A rising level above this sheds requests.
    let start: Double
    /// From this level on all requests are shed.
    let full: Double

    init(start: Double, full: Double) {
        self.start = start
        self.full = full
        low = start - Swift.min(full - start, start) / 2
    }

    /// The shed share of a rising level: (level − start) / (full − start), clamped to 0…1.
    func rising(_ level: Double) -> Double { Self.clamp((level - start) / (full - start)) }

    /// The shed share of a falling level: (level − low) / (full − start), clamped to 0…1; at least ``rising(_:)``.
    func falling(_ level: Double) -> Double { Self.clamp((level - low) / (full - start)) }

    private static func clamp(_ share: Double) -> Double { Swift.min(1, Swift.max(0, share)) }
}
