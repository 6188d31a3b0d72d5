// The producer's public face: a hot door without allocations, an async one, and an end with a deadline.

internal import CKafka

/// An idempotent producer (acks=all, murmur2_random).
///
/// A fatal error of librdkafka does not end it: the client inside is made anew, records in flight are reported as failed with
/// ``KafkaError/mayBePersisted``, and the producer goes on.
public final class KafkaProducer: Sendable {
    private let core: ProducerCore

    private init(_ core: ProducerCore) { self.core = core }

    /// A producer nobody holds any more fails what it still has in flight.
    deinit { core.stop() }

    /// Starts the producer and its report thread. Brokers that cannot be reached are no error here.
    /// - Parameter handler: learns the fate of records given to ``produce(_:key:value:partition:token:)``.
    public static func start(
        _ configuration: KafkaProducerConfiguration, handler: (any DeliveryHandler)? = nil
    ) throws(KafkaError) -> KafkaProducer {
        let core = try ProducerCore(configuration, handler)
        try OwnedThread.start("kafka-reports") { core.run() }
        return KafkaProducer(core)
    }

    /// A topic to produce to. Whether it exists is not asked: see ``prepare(_:within:)``.
    public func topic(_ name: String) throws(KafkaError) -> ProducerTopic { ProducerTopic(index: try core.topic(name)) }

    /// A topic to produce to, and how many partitions it has. Throws ``KafkaError/Code/unknownTopic`` where there is none. It also
    /// warms the way up: the first record to an unknown topic waits for its metadata.
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

    /// Hands over a copy of one record: the hot door. Any thread; never blocks, never allocates for a record that is taken.
    /// - Parameters:
    ///   - key: chooses the partition; `nil`: no key, any partition.
    ///   - value: `nil` is a tombstone.
    ///   - partition: −1: by the key.
    ///   - token: given back to the ``DeliveryHandler``; below 2^63.
    /// - Returns: `nil` where the record was taken, and will be reported exactly once. Otherwise why not; it was not written.
    @inline(__always)
    public func produce(
        _ topic: ProducerTopic, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, partition: Int32 = -1, token: UInt
    ) -> KafkaError? {
        precondition(token >> 63 == 0, "a token is below 2^63")
        return core.produce(topic.index, key: key, value: value, partition: partition, opaque: token << 1)
    }

    /// Hands over copies of all records of a group, in their order, and empties it. Any thread; never blocks.
    /// - Parameter refused: is told each record that was not taken, and why: it was not written. The others are reported exactly once.
    public func produce(
        _ topic: ProducerTopic, _ group: inout ProducerGroup, refused: (_ token: UInt, _ error: KafkaError) -> Void
    ) {
        core.produce(topic.index, &group, refused)
        group.removeAll()
    }

    /// Whether a record of `bytes` would be taken now, and less than three quarters of the bounds are in use: for senders that can wait,
    /// so that those who cannot find room. Any thread; a moment's answer.
    public func hasRoom(forBytes bytes: Int) -> Bool { core.hasRoom(forBytes: bytes) }

    /// How many records may be handed over together where ``hasRoom(forBytes:)`` says that there is room.
    public var groupRecords: Int { core.groupRecords }

    /// Sends one record and waits until all in-sync replicas have it, at most the message time-out. Not ended by cancellation: the
    /// record is on its way.
    public func send(
        _ topic: ProducerTopic, key: [UInt8]?, value: [UInt8]?, headers: [ProducerHeader] = [], partition: Int32 = -1
    ) async throws(KafkaError) -> Delivery {
        let result: Result<Delivery, KafkaError> = await withCheckedContinuation { continuation in
            let pending = Unmanaged.passRetained(ProducerCore.PendingSend(continuation))
            // Objects are aligned, so the lowest bit is free to tell a pointer from a token.
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

    /// Waits until everything in flight is reported.
    /// - Returns: false where `limit` passed first.
    public func flush(within limit: Duration) async -> Bool {
        let core = core
        do throws(KafkaError) {
            let error = try await OwnedThread.run("kafka-flush") {
                guard let generation = core.generation else { return RD_KAFKA_RESP_ERR_NO_ERROR }
                return withExtendedLifetime(generation) { rd_kafka_flush(generation.client.pointer, limit.milliseconds) }
            }
            return error == RD_KAFKA_RESP_ERR_NO_ERROR && core.statistics.inFlightRecords == 0
        } catch {
            return false
        }
    }

    /// Refuses new records, waits for those in flight, and destroys the client.
    /// - Returns: false where `deadline` passed first: the rest was reported as failed, or is being so.
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

    /// Makes the client inside fail fatally, as a broker's answer would. For tests.
    func failFatally() {
        guard let generation = core.generation else { return }
        rd_kafka_test_fatal_error(
            generation.client.pointer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "asked for by a test")
    }
}
