// Says how fast a worker may read at most: rates for all topics together and for single ones.

/// Rates of reading. Records and bytes are limited side by side: the least of all that apply counts, and all are charged.
public struct ConsumeLimits: Sendable, Equatable {
    /// A rate in each unit; 0: no limit.
    public struct Rates: Sendable, Equatable {
        /// Records a second.
        public var events: Int
        /// Bytes of keys, payloads and headers a second.
        public var bytes: Int

        /// A rate in each unit; 0: no limit.
        public init(events: Int = 0, bytes: Int = 0) {
            self.events = events
            self.bytes = bytes
        }
    }

    /// All topics together.
    public var all: Rates
    /// Single topics, by name.
    public var topics: [String: Rates]

    /// Rates of reading; without any nothing is limited.
    public init(all: Rates = Rates(), topics: [String: Rates] = [:]) {
        self.all = all
        self.topics = topics
    }
}
