// The public API of the producer: non-blocking and async methods to produce, and a close with a deadline.

internal import CKafka
internal import Platform

/// An idempotent producer (acks=all, murmur2_random).
///
/// A fatal error of librdkafka does not end it: the librdkafka client is replaced, and records in flight are reported as failed,
/// with ``KafkaError/mayBePersisted``.
public final class KafkaProducer: Sendable {
    private let core: ProducerCore

    private init(_ core: ProducerCore) { self.core = core }

    /// A producer without references reports the records in flight as failed.
    deinit { core.stop() }

    /// Starts the producer and its report thread. Unreachable brokers are not an error here.
    /// - Parameter handler: receives the delivery reports of ``produce(_:key:value:partition:token:)``.
    public static func start(
        _ configuration: KafkaProducerConfiguration, handler: (any DeliveryHandler)? = nil
    ) throws(KafkaError) -> KafkaProducer {
        let core = try ProducerCore(configuration, handler)
        try OwnedThread.startForKafka("kafka-reports") { core.run() }
        return KafkaProducer(core)
    }

    /// A topic to produce to. Whether it exists is not checked: see ``prepare(_:within:)``.
    public func topic(_ name: String) throws(KafkaError) -> ProducerTopic { ProducerTopic(index: try core.topic(name)) }

    /// A topic to produce to, and its number of partitions. Throws ``KafkaError/Code/unknownTopic`` where it does not exist. It
    /// also loads the topic's metadata, which the first record would otherwise wait for.
    public func prepare(
        _ name: String, within limit: Duration = .seconds(10)
    ) async throws(KafkaError) -> (topic: ProducerTopic, partitions: Int) {
        let index = try core.topic(name)
        let core = core
        let count = try await OwnedThread.run("kafka-metadata") {
            Result { () throws(KafkaError) in try core.partitionCount(index, timeout: limit) }
        }
        return (ProducerTopic(index: index), try count.get())
    }

    /// Produces a copy of one record. Any thread; never blocks, never allocates for a record that is accepted.
    /// - Parameters:
    ///   - key: determines the partition; `nil`: no key, any partition.
    ///   - value: `nil` is a tombstone.
    ///   - partition: −1: determined by the key.
    ///   - token: passed to the ``DeliveryHandler``; below 2^63.
    /// - Returns: `nil` where the record was accepted, and will be reported exactly once. Otherwise the error; it was not
    ///   written.
    @inline(__always)
    public func produce(
        _ topic: ProducerTopic, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [ProducerHeader] = [],
        partition: Int32 = -1, token: UInt
    ) -> KafkaError? {
        precondition(token >> 63 == 0, "a token is below 2^63")
        return core.produce(topic.index, key: key, value: value, headers: headers, partition: partition, opaque: token << 1)
    }

    /// Produces copies of all records of a group, in order, and empties it. Any thread; never blocks.
    /// - Parameter refused: called for each record that was not accepted, and not written. The others are reported exactly once.
    public func produce(
        _ topic: ProducerTopic, _ group: inout ProducerGroup, refused: (_ token: UInt, _ error: KafkaError) -> Void
    ) {
        core.produce(topic.index, &group, refused)
        group.removeAll()
    }

    /// Whether a record of `bytes` would be accepted now and less than three quarters of the bounds are in use. Senders that can
    /// wait ask this, so that the last quarter is left for those that cannot. Any thread; the answer may be outdated at once.
    public func hasRoom(forBytes bytes: Int) -> Bool { core.hasRoom(forBytes: bytes) }

    /// How many records may be produced together where ``hasRoom(forBytes:)`` is true.
    public var groupRecords: Int { core.groupRecords }

    /// Sends one record and waits until all in-sync replicas have it, at most the message timeout. Cancellation does not end the
    /// wait, because the record is in flight.
    public func send(
        _ topic: ProducerTopic, key: [UInt8]?, value: [UInt8]?, headers: [ProducerHeader] = [], partition: Int32 = -1
    ) async throws(KafkaError) -> Delivery {
        let result: Result<Delivery, KafkaError> = await withCheckedContinuation { continuation in
            let pending = Unmanaged.passRetained(ProducerCore.PendingSend(continuation))
            // Objects are aligned, so the lowest bit can distinguish a pointer from a token.
            let opaque = UInt(bitPattern: pending.toOpaque()) | 1
            let error = KafkaProducer.withBytes(key) { key in
                KafkaProducer.withBytes(value) { value in
                    core.produce(
                        topic.index, key: key, value: value, headers: headers, partition: partition, opaque: opaque)
                }
            }
            if let error { pending.takeRetainedValue().continuation.resume(returning: .failure(error)) }
        }
        return try result.get()
    }

    private static func withBytes<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        guard let bytes else { return body(nil) }
        return bytes.withUnsafeBytes { body($0) }
    }

    /// Waits until all records in flight are reported.
    /// - Returns: false where `limit` passed first.
    public func flush(within limit: Duration) async -> Bool {
        let core = core
        do throws(KafkaError) {
            let error = try await OwnedThread.run("kafka-flush") {
                guard let instance = core.instance else { return RD_KAFKA_RESP_ERR_NO_ERROR }
                return withExtendedLifetime(instance) {
                    rd_kafka_flush(instance.client.pointer, Int32(clamping: limit.milliseconds))
                }
            }
            return error == RD_KAFKA_RESP_ERR_NO_ERROR && core.statistics.inFlightRecords == 0
        } catch {
            return false
        }
    }

    /// Refuses new records, waits for those in flight, and destroys the client.
    /// - Returns: false where `deadline` passed first: the remaining records are reported as failed.
    public func close(deadline: Duration) async -> Bool {
        let start = ContinuousClock.now
        core.refuse()
        let isFlushed = await flush(within: deadline)
        core.stop()
        let rest = max(.milliseconds(500), deadline - (ContinuousClock.now - start))
        let isEnded = await core.finished.wait(within: rest)
        return isFlushed && isEnded
    }

    /// Counters since the start, and what is in flight now.
    public var statistics: KafkaProducerStatistics { core.statistics }

    /// Makes the librdkafka client fail fatally, as a broker's answer would. For tests.
    func failFatally() {
        guard let instance = core.instance else { return }
        rd_kafka_test_fatal_error(
            instance.client.pointer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "requested by a test")
    }
}
