// Declares what a producer reports about a record.

/// Where a record was written.
public struct Delivery: Sendable, Equatable {
    /// The partition chosen by the key.
    public let partition: Int32
    /// The record's offset there.
    public let offset: Int64
}

/// Receives the delivery report of each record that ``KafkaProducer/produce(_:key:value:partition:token:)`` accepted: one per
/// token.
public protocol DeliveryHandler: Sendable {
    /// Called on the producer's report thread, which it must not block.
    ///
    /// `error` is nil where all in-sync replicas have the record. Otherwise ``KafkaError/mayBePersisted`` tells whether the
    /// broker may have written it all the same.
    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?)

    /// Called on the same thread before the reports of records that came together: how many of them are acknowledged, and how long after they
    /// were produced, in seconds (the mean of the first and the last one's time).
    func acknowledged(_ records: Int, after seconds: Double)

    /// Called on the same thread after the last of several reports that came together.
    func reportsEnded()
}

extension DeliveryHandler {
    /// Does nothing.
    public func acknowledged(_ records: Int, after seconds: Double) {}

    /// Does nothing.
    public func reportsEnded() {}
}

/// A topic of one producer: see ``KafkaProducer/topic(_:)``.
public struct ProducerTopic: Sendable, Equatable {
    let index: Int
}

/// A header of a produced record.
public struct ProducerHeader: Sendable, Equatable {
    /// The header's name; names may repeat.
    public let name: String
    /// The header's bytes; `nil` is null.
    public let value: [UInt8]?

    /// A header of a produced record.
    public init(_ name: String, _ value: [UInt8]?) {
        self.name = name
        self.value = value
    }
}

/// Counters of one producer since its start, and what is in flight now.
public struct KafkaProducerStatistics: Sendable, Equatable {
    /// Records acknowledged.
    public var delivered = 0
    /// Records reported as failed.
    public var failed = 0
    /// Times the librdkafka client was replaced after a fatal error.
    public var recreations = 0
    /// Records accepted and not reported yet.
    public var inFlightRecords = 0
    /// Their bytes of keys and payloads.
    public var inFlightBytes = 0
}
