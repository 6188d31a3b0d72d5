// Owns one librdkafka producer and its topics; after a fatal error another instance replaces it.

internal import CKafka

/// One librdkafka producer. Its topics reference it: the thread that releases the last of them destroys it.
final class ProducerInstance: Sendable {
    let client: Client

    init(_ configuration: KafkaProducerConfiguration) throws(KafkaError) {
        let properties = try configuration.makeConfiguration()
        client = try Client(RD_KAFKA_PRODUCER, properties, configuration.client)
    }

    deinit { client.destroy() }
}

/// One topic of one instance.
final class InstanceTopic: @unchecked Sendable {
    // Licence for @unchecked: librdkafka's topics are thread-safe and reference-counted; `handle` changes in `deinit` only.

    private let instance: ProducerInstance
    private let pointer: OpaquePointer
    private var handle: TopicHandle?
    let name: String

    init(_ instance: ProducerInstance, _ name: String) throws(KafkaError) {
        let handle = try TopicHandle(instance.client, name)
        self.instance = instance
        self.name = name
        pointer = handle.pointer
        self.handle = consume handle
    }

    // The topic must be released before its client, which the order of stored properties does not guarantee.
    deinit { handle = nil }

    /// Produces a copy of one record.
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

    /// Produces copies of all messages, and sets each one's `err`. With headers one by one: librdkafka's batches have none.
    func produce(_ messages: UnsafeMutableBufferPointer<rd_kafka_message_t>, headers: [ProducerHeader]) {
        guard headers.isEmpty else {
            for index in messages.indices {
                let message = messages[index]
                messages[index].err = produceWithHeaders(
                    key: message.key.map { UnsafeRawBufferPointer(start: $0, count: message.key_len) },
                    value: UnsafeRawBufferPointer(start: message.payload, count: message.len), headers: headers,
                    partition: RD_KAFKA_PARTITION_UA, opaque: UInt(bitPattern: message._private))
            }
            return
        }
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
            instance.client.pointer, pointer, partition, start(key), key?.count ?? 0, start(value), value?.count ?? 0, list,
            UnsafeMutableRawPointer(bitPattern: opaque))
        if error != RD_KAFKA_RESP_ERR_NO_ERROR { rd_kafka_headers_destroy(list) }
        return error
    }

    /// The address of the bytes. NULL means null to librdkafka, so empty bytes without an address get one.
    @inline(__always)
    private func start(_ bytes: UnsafeRawBufferPointer?) -> UnsafeRawPointer? {
        guard let bytes else { return nil }
        return bytes.baseAddress ?? UnsafeRawPointer(pointer)
    }
}
