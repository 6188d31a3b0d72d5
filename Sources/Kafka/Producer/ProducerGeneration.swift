// Owns one librdkafka producer with its topics; a fatal error ends it, and the next generation takes its place.

internal import CKafka

/// One librdkafka producer. It goes with its last topic; whoever drops that one destroys it.
final class ProducerGeneration: Sendable {
    let client: Client

    init(_ configuration: KafkaProducerConfiguration) throws(KafkaError) {
        let properties = try configuration.makeConfiguration()
        client = try Client(RD_KAFKA_PRODUCER, properties, log: configuration.client.log)
    }

    deinit { client.destroy() }
}

/// One topic of one generation.
final class GenerationTopic: @unchecked Sendable {
    // Licence for @unchecked: librdkafka's topics are thread-safe and reference-counted; `handle` changes in `deinit` only.

    private let generation: ProducerGeneration
    private let pointer: OpaquePointer
    private var handle: TopicHandle?
    let name: String

    init(_ generation: ProducerGeneration, _ name: String) throws(KafkaError) {
        let handle = try TopicHandle(generation.client, name)
        self.generation = generation
        self.name = name
        pointer = handle.pointer
        self.handle = consume handle
    }

    // The topic must go before its client, which the order of stored properties does not promise.
    deinit { handle = nil }

    /// Hands a copy of one record to librdkafka.
    @inline(__always)
    func produce(
        key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [ProducerHeader], partition: Int32, opaque: UInt
    ) -> rd_kafka_resp_err_t {
        if !headers.isEmpty {
            return produceWithHeaders(key: key, value: value, headers: headers, partition: partition, opaque: opaque)
        }
        let result = rd_kafka_produce(
            pointer, partition, RD_KAFKA_MSG_F_COPY, UnsafeMutableRawPointer(mutating: start(value)), value?.count ?? 0,
            start(key), key?.count ?? 0, UnsafeMutableRawPointer(bitPattern: opaque))
        return result == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error()
    }

    /// Hands copies of all messages to librdkafka. Each one's `err` says what became of it.
    func produce(_ messages: UnsafeMutableBufferPointer<rd_kafka_message_t>) {
        for index in messages.indices { messages[index].payload = messages[index].payload ?? UnsafeMutableRawPointer(pointer) }
        rd_kafka_produce_batch(
            pointer, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, messages.baseAddress, Int32(messages.count))
    }

    private func produceWithHeaders(
        key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [ProducerHeader], partition: Int32, opaque: UInt
    ) -> rd_kafka_resp_err_t {
        let list = rd_kafka_headers_new(headers.count)
        for header in headers {
            if let bytes = header.value {
                bytes.withUnsafeBytes { _ = rd_kafka_header_add(list, header.name, -1, start($0), $0.count) }
            } else {
                rd_kafka_header_add(list, header.name, -1, nil, 0)
            }
        }
        let error = sluice_produce_with_headers(
            generation.client.pointer, pointer, partition, start(key), key?.count ?? 0, start(value), value?.count ?? 0, list,
            UnsafeMutableRawPointer(bitPattern: opaque))
        if error != RD_KAFKA_RESP_ERR_NO_ERROR { rd_kafka_headers_destroy(list) }
        return error
    }

    /// Where the bytes begin. NULL means null to librdkafka, so bytes without an address get one.
    @inline(__always)
    private func start(_ bytes: UnsafeRawBufferPointer?) -> UnsafeRawPointer? {
        guard let bytes else { return nil }
        return bytes.baseAddress ?? UnsafeRawPointer(pointer)
    }
}
