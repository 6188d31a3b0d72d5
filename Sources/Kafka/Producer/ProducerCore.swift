// Owns a producer's state and its report thread: bounds, delivery reports, and the replacement of failed instances.

internal import CKafka
internal import Platform
internal import Synchronization
internal import Telemetry

/// Shared by ``KafkaProducer`` and its report thread.
final class ProducerCore: Sendable {
    private struct State {
        /// `nil` after the end.
        var instance: ProducerInstance?
        var topics: [InstanceTopic] = []
        var isClosed = false
        /// The fatal error of the last instance, or of this one.
        var cause: KafkaError?
    }

    /// A record of ``KafkaProducer/send(_:key:value:headers:partition:)``.
    final class PendingSend: Sendable {
        let continuation: CheckedContinuation<Result<Delivery, KafkaError>, Never>
        init(_ continuation: CheckedContinuation<Result<Delivery, KafkaError>, Never>) { self.continuation = continuation }
    }

    private static let isClosed = KafkaError(.closed, "the producer is closed")
    private static let queueFull = KafkaError(
        .queueFull, "the producer's queue is full: the brokers are slower than the senders", isRetriable: true)

    let finished = Latch()
    private let configuration: KafkaProducerConfiguration
    private let handler: (any DeliveryHandler)?
    private let state: Mutex<State>
    private let isStopping = Atomic(false)
    private let inFlightRecords = Atomic(0)
    private let inFlightBytes = Atomic(0)
    private let delivered = Atomic(0)
    private let failed = Atomic(0)
    private let recreations = Atomic(0)

    init(_ configuration: KafkaProducerConfiguration, _ handler: (any DeliveryHandler)?) throws(KafkaError) {
        self.configuration = configuration
        self.handler = handler
        state = Mutex(State(instance: try ProducerInstance(configuration)))
    }

    var statistics: KafkaProducerStatistics {
        KafkaProducerStatistics(
            delivered: delivered.load(ordering: .relaxed), failed: failed.load(ordering: .relaxed),
            recreations: recreations.load(ordering: .relaxed), inFlightRecords: inFlightRecords.load(ordering: .relaxed),
            inFlightBytes: inFlightBytes.load(ordering: .relaxed))
    }

    /// The current instance; a reference to it keeps its client.
    var instance: ProducerInstance? { state.withLock { $0.instance } }

    func hasRoom(forBytes bytes: Int) -> Bool {
        let records = inFlightRecords.load(ordering: .relaxed)
        if records == 0 { return true }
        let held = inFlightBytes.load(ordering: .relaxed)
        return records < configuration.inFlightRecords / 4 * 3 && held < configuration.inFlightBytes / 4 * 3
            && held + bytes <= configuration.inFlightBytes
    }

    /// Records of a group that fits, with one more record, where ``hasRoom(forBytes:)`` is true.
    var groupRecords: Int { max(1, min(ProducerGroup.capacity, configuration.inFlightRecords / 4 - 1)) }

    /// The topic's index, which is the same in every instance.
    func topic(_ name: String) throws(KafkaError) -> Int {
        try state.withLock { state throws(KafkaError) in
            guard !state.isClosed, let instance = state.instance else { throw Self.isClosed }
            if let index = state.topics.firstIndex(where: { $0.name == name }) { return index }
            state.topics.append(try InstanceTopic(instance, name))
            return state.topics.count - 1
        }
    }

    /// The number of partitions of a topic, asked of the brokers; blocks up to `timeout`.
    func partitionCount(_ topic: Int, timeout: Duration) throws(KafkaError) -> Int {
        let current = state.withLock { $0.isClosed ? nil : ($0.instance, $0.topics[topic].name) }
        guard case (let instance?, let name)? = current else { throw Self.isClosed }
        // A separate handle: the end of an instance waits until its topics are no longer referenced.
        let handle = try TopicHandle(instance.client, name)
        return try TopicHandle.partitionCount(of: handle.pointer, instance.client, name: name, timeout: timeout).get()
    }

    @inline(__always)
    func produce(
        _ topic: Int, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [ProducerHeader] = [],
        partition: Int32, opaque: UInt
    ) -> KafkaError? {
        let bytes = (key?.count ?? 0) + (value?.count ?? 0)
        let records = inFlightRecords.add(1, ordering: .relaxed).newValue
        let total = inFlightBytes.add(bytes, ordering: .relaxed).newValue
        // A record larger than the bound is accepted while it is the only one.
        guard records <= configuration.inFlightRecords, total <= configuration.inFlightBytes || records == 1 else {
            release(bytes: bytes)
            return ProducerCore.queueFull
        }
        let target = state.withLock { $0.isClosed ? nil : $0.topics[topic] }
        guard let target else {
            release(bytes: bytes)
            return ProducerCore.isClosed
        }
        let error = target.produce(key: key, value: value, headers: headers, partition: partition, opaque: opaque)
        if error == RD_KAFKA_RESP_ERR_NO_ERROR { return nil }
        release(bytes: bytes)
        return refusal(error, target)
    }

    func produce(_ topic: Int, _ group: inout ProducerGroup, _ refused: (_ token: UInt, _ error: KafkaError) -> Void) {
        guard group.count > 0 else { return }
        let messages = group.messages()
        let records = inFlightRecords.add(messages.count, ordering: .relaxed).newValue
        let total = inFlightBytes.add(group.bytes, ordering: .relaxed).newValue
        let fits =
            records <= configuration.inFlightRecords
            && (total <= configuration.inFlightBytes || records == messages.count)
        let target = fits ? state.withLock { $0.isClosed ? nil : $0.topics[topic] } : nil
        guard let target else {
            release(records: messages.count, bytes: group.bytes)
            for message in messages { refused(Self.token(message), fits ? Self.isClosed : Self.queueFull) }
            return
        }
        target.produce(messages, headers: group.headers)
        for message in messages where message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
            release(records: 1, bytes: message.len + message.key_len)
            refused(Self.token(message), refusal(message.err, target))
        }
    }

    private static func token(_ message: rd_kafka_message_t) -> UInt { UInt(bitPattern: message._private) >> 1 }

    private func refusal(_ error: rd_kafka_resp_err_t, _ target: InstanceTopic) -> KafkaError {
        switch error {
        case RD_KAFKA_RESP_ERR__QUEUE_FULL: ProducerCore.queueFull
        case RD_KAFKA_RESP_ERR__FATAL:
            denial
                ?? KafkaError(
                    code: .fatal, kafkaCode: error.rawValue, message: "the producer is being restarted after a fatal error",
                    isRetriable: true,
                    mayBePersisted: false)
        default: KafkaError(error, "topic \(target.name): \(String(cString: rd_kafka_err2str(error)))")
        }
    }

    /// The error where another instance cannot help, because the producer is not allowed to write.
    private var denial: KafkaError? {
        guard let cause = state.withLock({ $0.cause }) else { return nil }
        let code = KafkaError(rd_kafka_resp_err_t(rawValue: cause.kafkaCode)).code
        guard code == .notAuthorized else { return nil }
        return KafkaError(
            code: code, kafkaCode: cause.kafkaCode, message: cause.message, isRetriable: false, mayBePersisted: false)
    }

    @inline(__always)
    private func release(records: Int = 1, bytes: Int) {
        inFlightRecords.subtract(records, ordering: .relaxed)
        inFlightBytes.subtract(bytes, ordering: .relaxed)
    }

    /// Refuses new records from now on.
    func refuse() { state.withLock { $0.isClosed = true } }

    /// Ends the report thread; records in flight are reported as failed.
    func stop() {
        refuse()
        isStopping.store(true, ordering: .relaxed)
    }

    // MARK: The report thread

    func run() {
        var pause = Self.shortestPause
        // Referenced here, so that its queue is released before it.
        while let instance, let delivered = serve(instance, failing: pause) {
            recreations.add(1, ordering: .relaxed)
            // Back-off while brokers refuse one instance after the other.
            pause = delivered > 0 ? Self.shortestPause : min(Self.longestPause, pause * 2)
        }
        finished.open()
    }

    private static let shortestPause: UInt64 = 50_000_000
    private static let longestPause: UInt64 = 5_000_000_000

    /// Serves one instance to its end.
    /// - Parameter pause: nanoseconds from its failure until it is replaced.
    /// - Returns: the number of records it delivered; `nil` where the producer is closed.
    private func serve(_ instance: ProducerInstance, failing pause: UInt64) -> Int? {
        guard let pointer = rd_kafka_queue_get_main(instance.client.pointer) else { return nil }
        let reports = QueueHandle(owning: pointer)
        let before = delivered.load(ordering: .relaxed)
        var replaceAt: UInt64?
        while !isStopping.load(ordering: .relaxed) {
            if let event = reports.takeEvent(milliseconds: replaceAt == nil ? 100 : 10) { handle(event) }
            guard let error = instance.client.fatalError() else { continue }
            if replaceAt == nil {
                configuration.client.log(.error, "the producer failed and is restarted: \(error)")
                state.withLock { $0.cause = error }
                replaceAt = MonotonicClock.nanoseconds() + pause
            }
            // Its queued records will not be sent any more: their senders get the report now.
            rd_kafka_purge(instance.client.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
            guard let due = replaceAt, MonotonicClock.nanoseconds() >= due else { continue }
            guard var topics = replaceInstance() else {
                replaceAt = MonotonicClock.nanoseconds() + Self.longestPause
                continue
            }
            drain(instance, &topics, reports)
            return delivered.load(ordering: .relaxed) - before
        }
        var topics = state.withLock { state in
            defer { (state.instance, state.topics) = (nil, []) }
            return state.topics
        }
        drain(instance, &topics, reports)
        return nil
    }

    /// Replaces the failed instance and returns the old one's topics; `nil` where no new one could be made.
    private func replaceInstance() -> [InstanceTopic]? {
        do throws(KafkaError) {
            let next = try ProducerInstance(configuration)
            return try state.withLock { state throws(KafkaError) in
                var topics: [InstanceTopic] = []
                for topic in state.topics { topics.append(try InstanceTopic(next, topic.name)) }
                defer { (state.instance, state.topics) = (next, topics) }
                return state.topics
            }
        } catch {
            configuration.client.log(.error, "the producer cannot be restarted yet: \(error)")
            return nil
        }
    }

    /// Reports all records that an instance still has as failed: queued ones as not written, sent ones as possibly written. Then
    /// releases its topics, so that the client is destroyed on this thread.
    /// - Parameter topics: no longer in `state`. A thread that still references one may be producing a record, which must be
    ///   reported, too.
    private func drain(
        _ instance: ProducerInstance, _ topics: inout [InstanceTopic], _ reports: borrowing QueueHandle
    ) {
        let pointer = instance.client.pointer
        // In this order: a record that was produced before its topic was released is in the queue's length.
        while !topics.indices.allSatisfy({ isKnownUniquelyReferenced(&topics[$0]) }) || rd_kafka_outq_len(pointer) > 0 {
            rd_kafka_purge(pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
            if let event = reports.takeEvent(milliseconds: 10) { handle(event) }
        }
        topics = []
    }

    private func handle(_ event: borrowing EventHandle) {
        switch event.type {
        case RD_KAFKA_EVENT_DR:
            // librdkafka reports a batch as a whole (2.0.2: rd_kafka_dr_msgq).
            let isAlone = rd_kafka_event_message_count(event.pointer) == 1
            // Several at a time: the counters shared with other threads are updated once for all of them, before the reports.
            withUnsafeTemporaryAllocation(of: UnsafePointer<rd_kafka_message_t>.self, capacity: 128) { list in
                while true {
                    var count = 0
                    while count < list.count, let message = rd_kafka_event_message_next(event.pointer) {
                        list.initializeElement(at: count, to: message)
                        count += 1
                    }
                    guard count > 0 else { break }
                    let messages = UnsafeBufferPointer(start: list.baseAddress, count: count)
                    countReports(messages)
                    for message in messages { report(message, isAlone: isAlone) }
                    handler?.reportsEnded()
                }
            }
        case RD_KAFKA_EVENT_ERROR:
            if let error = event.failure { configuration.client.log(.warning, error.description) }
        default: break
        }
    }

    private func countReports(_ messages: UnsafeBufferPointer<UnsafePointer<rd_kafka_message_t>>) {
        var (bytes, good) = (0, 0)
        for message in messages {
            bytes += message.pointee.len + message.pointee.key_len
            if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR { good += 1 }
        }
        release(records: messages.count, bytes: bytes)
        if good > 0, let first = messages.first, let last = messages.last {
            delivered.add(good, ordering: .relaxed)
            // Of two records only: each costs a look at the clock.
            let microseconds = rd_kafka_message_latency(first) + rd_kafka_message_latency(last)
            handler?.acknowledged(good, after: Double(microseconds) / 2e6)
        }
        if good < messages.count { failed.add(messages.count - good, ordering: .relaxed) }
    }

    @inline(__always)
    private func report(_ message: UnsafePointer<rd_kafka_message_t>, isAlone: Bool) {
        let isGood = message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR
        let error = isGood ? nil : failure(message, isAlone: isAlone)
        let opaque = UInt(bitPattern: message.pointee._private)
        if opaque & 1 == 0 {
            handler?.delivered(opaque >> 1, partition: message.pointee.partition, offset: message.pointee.offset, error: error)
            return
        }
        guard let pending = UnsafeRawPointer(bitPattern: opaque & ~1) else { return }
        // Consumes the reference that `send` retained.
        let send = Unmanaged<PendingSend>.fromOpaque(pending).takeRetainedValue()
        let delivery = Delivery(partition: message.pointee.partition, offset: message.pointee.offset)
        send.continuation.resume(returning: error.map { .failure($0) } ?? .success(delivery))
    }

    private func failure(_ message: UnsafePointer<rd_kafka_message_t>, isAlone: Bool) -> KafkaError {
        // A refusal says for certain that nothing was written.
        let isRefusal = KafkaError(message.pointee.err).code == .refused
        let mayBePersisted = !isRefusal && rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED
        // Purged because of the missing permission.
        if !mayBePersisted, message.pointee.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE, let denial { return denial }
        let topic = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? "?"
        let text = "topic \(topic): \(String(cString: rd_kafka_err2str(message.pointee.err)))"
        let error = KafkaError(message.pointee.err, text, mayBePersisted: mayBePersisted)
        if error.code == .recordTooLarge, !isAlone {
            return KafkaError(
                code: .batchTooLarge, kafkaCode: error.kafkaCode, message: text + ", for a batch of several records",
                isRetriable: true, mayBePersisted: false)
        }
        // The record that the broker refuses may be another one of the batch: librdkafka 2.0 does not say which.
        if error.kafkaCode == RD_KAFKA_RESP_ERR_INVALID_RECORD.rawValue, !isAlone {
            return KafkaError(
                code: .other, kafkaCode: error.kafkaCode, message: text + ", for a batch of several records", isRetriable: true,
                mayBePersisted: false)
        }
        return error
    }
}
