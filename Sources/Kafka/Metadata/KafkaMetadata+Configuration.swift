// Asks the brokers how a topic is configured.

internal import CKafka
internal import Platform

extension KafkaMetadata {
    /// The largest batch of records that the brokers take for a topic, in bytes (`max.message.bytes`). Needs the right to describe the
    /// topic's configuration.
    public func largestBatch(of topic: String, timeout: Duration) async throws(KafkaError) -> Int {
        try await run { client in
            Result { () throws(KafkaError) in
                let value = try Self.setting("max.message.bytes", of: topic, client, timeout)
                guard let bytes = Int(value) else {
                    throw KafkaError(.other, "max.message.bytes of topic \(topic) is \(value)")
                }
                return bytes
            }
        }
    }

    private static func setting(
        _ name: String, of topic: String, _ client: Client, _ timeout: Duration
    ) throws(KafkaError) -> String {
        let milliseconds = Swift.max(1, Int32(clamping: timeout.milliseconds))
        guard let pointer = rd_kafka_queue_new(client.pointer),
            let options = rd_kafka_AdminOptions_new(client.pointer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS)
        else { throw KafkaError(.other, "librdkafka had no memory for a question") }
        defer { rd_kafka_AdminOptions_destroy(options) }
        let queue = QueueHandle(owning: pointer)
        rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, nil, 0)
        var resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)
        defer { rd_kafka_ConfigResource_destroy(resource) }
        rd_kafka_DescribeConfigs(client.pointer, &resource, 1, options, queue.pointer)
        // librdkafka answers at its own time-out.
        guard let event = queue.takeEvent(milliseconds: milliseconds + 1_000) else {
            throw KafkaError(.timedOut, "no broker returned the configuration of topic \(topic) in time", isRetriable: true)
        }
        if let failure = event.failure { throw failure }
        var count = 0
        let result = rd_kafka_event_DescribeConfigs_result(event.pointer)
        guard let resources = rd_kafka_DescribeConfigs_result_resources(result, &count), count == 1 else {
            throw KafkaError(.other, "Kafka returned no configuration of topic \(topic)")
        }
        let error = rd_kafka_ConfigResource_error(resources[0])
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(error, "the configuration of topic \(topic): \(String(cString: rd_kafka_err2str(error)))")
        }
        let entries = rd_kafka_ConfigResource_configs(resources[0], &count)
        for index in 0..<count {
            guard let entry = entries?[index], let value = rd_kafka_ConfigEntry_value(entry) else { continue }
            if String(cString: rd_kafka_ConfigEntry_name(entry)) == name { return String(cString: value) }
        }
        throw KafkaError(.other, "the configuration of topic \(topic) has no \(name)")
    }
}
