// Computes the levels that shedding is decided from, out of lag, credits and the producer's queue.

public import Backpressure

/// The inputs of load shedding at one moment; `nil`: unknown.
public struct SheddingInputs: Sendable, Equatable {
    /// The consumer lag of the group.
    public struct Lag: Sendable, Equatable {
        /// Records that are not yet applied.
        public var records: Double
        /// Age of the oldest of them, seconds; `nil`: unknown.
        public var seconds: Double?
        /// When the end offsets were read, monotonic nanoseconds.
        public var measuredAt: UInt64
        /// Recent rate of applied records, per second.
        public var drainRate: Double

        /// The consumer lag of the group.
        public init(records: Double, seconds: Double?, measuredAt: UInt64, drainRate: Double) {
            self.records = records
            self.seconds = seconds
            self.measuredAt = measuredAt
            self.drainRate = drainRate
        }
    }

    /// The pipeline's credits.
    public struct PipelineCredits: Sendable, Equatable {
        /// Free credits; negative: a debt.
        public var free: Credits
        /// All credits.
        public var total: Credits

        /// The pipeline's credits.
        public init(free: Credits, total: Credits) {
            self.free = free
            self.total = total
        }
    }

    /// The producer's queue.
    public struct Producer: Sendable, Equatable {
        /// Produced and not acknowledged.
        public var inFlight: Credits
        /// The capacity of the queue.
        public var bound: Credits
        /// Records acknowledged since the start.
        public var delivered: Int

        /// The producer's queue.
        public init(inFlight: Credits, bound: Credits, delivered: Int) {
            self.inFlight = inFlight
            self.bound = bound
            self.delivered = delivered
        }
    }

    /// The consumer lag of the group.
    public var lag: Lag?
    /// The pipeline's credits.
    public var credits: PipelineCredits?
    /// The producer's queue.
    public var producer: Producer?

    /// Everything is unknown.
    public init() {}
}

/// The level of each cause, from successive inputs. Pure; times in monotonic nanoseconds.
struct SheddingLevelMachine: ~Copyable {
    /// Free credits count as the most that were free within this time, nanoseconds: at full speed a single input nearly always finds none
    /// free, and they return a moment later.
    static let creditWindow: UInt64 = 1_000_000_000
    /// The rate of acknowledgements is measured over this time, nanoseconds.
    static let producerWindow: UInt64 = 5_000_000_000

    private var backlog = BacklogEstimateMachine()
    private var free: [(at: UInt64, share: Double)] = []
    private var acknowledged: [(at: UInt64, count: Int)] = []

    /// The inputs at `now` were read.
    mutating func inputsRead(_ inputs: SheddingInputs, now: UInt64) -> SheddingLevels {
        var levels = SheddingLevels()
        let produced = inputs.producer.map { $0.delivered + $0.inFlight.records } ?? 0
        if let lag = inputs.lag {
            let records = backlog.measured(
                lag.records, at: lag.measuredAt, produced: produced, drainRate: lag.drainRate, now: now)
            levels[.lag] = SheddingLevel(level: records, fall: lag.drainRate)
            // If the records came in evenly, each applied one reduces the age by an equal part.
            levels[.timeLag] = lag.seconds.map { seconds in
                SheddingLevel(level: seconds, fall: lag.records > 0 ? seconds * lag.drainRate / lag.records : lag.drainRate)
            }
        } else {
            backlog.unmeasured(produced: produced)
        }
        levels[.credits] = credits(inputs, now: now)
        levels[.producerQueue] = producer(inputs.producer, now: now)
        return levels
    }

    private mutating func credits(_ inputs: SheddingInputs, now: UInt64) -> SheddingLevel? {
        guard let credits = inputs.credits, credits.total.isPositive else {
            free = []
            return nil
        }
        let share = Swift.min(
            Double(credits.free.records) / Double(credits.total.records), Double(credits.free.bytes) / Double(credits.total.bytes)
        )
        free.append((now, share))
        free.removeFirst(free.prefix { now > $0.at && now - $0.at >= Self.creditWindow }.count)
        let most = free.map({ $0.share }).max() ?? share
        return SheddingLevel(level: 1 - most, fall: (inputs.lag?.drainRate ?? 0) / Double(credits.total.records))
    }

    private mutating func producer(_ producer: SheddingInputs.Producer?, now: UInt64) -> SheddingLevel? {
        guard let producer, producer.bound.isPositive else { return nil }
        acknowledged.append((now, producer.delivered))
        // The newest entry before the window stays: the rate is measured from it.
        while acknowledged.count > 2, now > acknowledged[1].at, now - acknowledged[1].at >= Self.producerWindow {
            acknowledged.removeFirst()
        }
        let level = Swift.max(
            Double(producer.inFlight.records) / Double(producer.bound.records),
            Double(producer.inFlight.bytes) / Double(producer.bound.bytes))
        let seconds = Double(now - Swift.min(now, acknowledged[0].at)) / 1e9
        guard producer.inFlight.records > 0, seconds > 0 else { return SheddingLevel(level: level, fall: 0) }
        let rate = Double(producer.delivered - acknowledged[0].count) / seconds
        return SheddingLevel(level: level, fall: level * rate / Double(producer.inFlight.records))
    }
}
