// Turns what the rooms around the ingress say of themselves into the levels that shedding decides by.

public import Backpressure

/// What is known at one moment; `nil`: nobody can say.
public struct SheddingInputs: Sendable, Equatable {
    /// How far the group is behind.
    public struct Lag: Sendable, Equatable {
        /// Records that are in the log and not applied.
        public var records: Double
        /// Age of the oldest of them, seconds; `nil`: not known.
        public var seconds: Double?
        /// When the log's ends were answered, monotonic nanoseconds.
        public var measuredAt: UInt64
        /// Records applied a second, lately.
        public var drainRate: Double

        /// How far the group is behind.
        public init(records: Double, seconds: Double?, measuredAt: UInt64, drainRate: Double) {
            self.records = records
            self.seconds = seconds
            self.measuredAt = measuredAt
            self.drainRate = drainRate
        }
    }

    /// The pipeline's credits.
    public struct PipelineCredits: Sendable, Equatable {
        /// What is free; negative: a debt.
        public var free: Credits
        /// What there is.
        public var total: Credits

        /// The pipeline's credits.
        public init(free: Credits, total: Credits) {
            self.free = free
            self.total = total
        }
    }

    /// What is on its way to the brokers.
    public struct Producer: Sendable, Equatable {
        /// Taken and not acknowledged.
        public var inFlight: Credits
        /// The most that is taken.
        public var bound: Credits
        /// Records acknowledged since the start.
        public var delivered: Int

        /// What is on its way to the brokers.
        public init(inFlight: Credits, bound: Credits, delivered: Int) {
            self.inFlight = inFlight
            self.bound = bound
            self.delivered = delivered
        }
    }

    /// How far the group is behind.
    public var lag: Lag?
    /// The pipeline's credits.
    public var credits: PipelineCredits?
    /// What is on its way to the brokers.
    public var producer: Producer?

    /// Nothing is known.
    public init() {}
}

/// Reads levels off facts, look by look.
public struct SheddingLevelMachine: ~Copyable {
    /// Free credits count as the most that was free within so long, nanoseconds: at full speed a single reading nearly always finds
    /// them all out, and they are back a moment later.
    public static let creditWindow: UInt64 = 1_000_000_000
    /// Acknowledgements are counted over so long, nanoseconds.
    public static let producerWindow: UInt64 = 5_000_000_000

    private var backlog = BacklogEstimateMachine()
    private var free: [(at: UInt64, share: Double)] = []
    private var acknowledged: [(at: UInt64, count: Int)] = []

    /// Nothing was looked at yet.
    public init() {}

    /// The facts of the moment `now`, monotonic nanoseconds.
    public mutating func inputsRead(_ facts: SheddingInputs, now: UInt64) -> SheddingLevels {
        var readings = SheddingLevels()
        let taken = facts.producer.map { $0.delivered + $0.inFlight.records } ?? 0
        if let lag = facts.lag {
            let records = backlog.measured(
                lag.records, at: lag.measuredAt, taken: taken, drainRate: lag.drainRate, now: now)
            readings[.lag] = SheddingLevel(level: records, fall: lag.drainRate)
            // Of a backlog that came in evenly each record that is applied takes an equal part of the age away.
            readings[.timeLag] = lag.seconds.map { seconds in
                SheddingLevel(level: seconds, fall: lag.records > 0 ? seconds * lag.drainRate / lag.records : lag.drainRate)
            }
        } else {
            backlog.unmeasured(taken: taken)
        }
        readings[.credits] = credits(facts, now: now)
        readings[.producerQueue] = producer(facts.producer, now: now)
        return readings
    }

    private mutating func credits(_ facts: SheddingInputs, now: UInt64) -> SheddingLevel? {
        guard let account = facts.credits, account.total.isPositive else {
            free = []
            return nil
        }
        let share = Swift.min(
            Double(account.free.records) / Double(account.total.records), Double(account.free.bytes) / Double(account.total.bytes)
        )
        free.append((now, share))
        free.removeFirst(free.prefix { now > $0.at && now - $0.at >= Self.creditWindow }.count)
        let most = free.map({ $0.share }).max() ?? share
        return SheddingLevel(level: 1 - most, fall: (facts.lag?.drainRate ?? 0) / Double(account.total.records))
    }

    private mutating func producer(_ producer: SheddingInputs.Producer?, now: UInt64) -> SheddingLevel? {
        guard let producer, producer.bound.isPositive else { return nil }
        acknowledged.append((now, producer.delivered))
        // The first one beyond the window stays: it is where the window begins.
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
