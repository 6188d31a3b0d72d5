// Declares how fast a worker may read: rates for all topics together and for single topics.

/// Read rates. All rates that apply must allow a read, in records and in bytes, and all are charged.
public struct ConsumeLimits: Sendable, Equatable {
    /// A rate in each unit; 0: no limit.
    public struct Rates: Sendable, Equatable {
        /// Records per second.
        public var events: Int
        /// Bytes of keys, payloads and headers per second.
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

    /// Read rates; without any there is no limit.
    public init(all: Rates = Rates(), topics: [String: Rates] = [:]) {
        self.all = all
        self.topics = topics
    }
}
