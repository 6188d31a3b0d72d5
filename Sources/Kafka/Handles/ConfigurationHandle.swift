// Owns an `rd_kafka_conf_t` until a client takes it over.

internal import CKafka

/// The librdkafka properties of a client that is being made.
struct ConfigurationHandle: ~Copyable {
    private let pointer: OpaquePointer

    init() { pointer = rd_kafka_conf_new() }

    deinit { rd_kafka_conf_destroy(pointer) }

    /// Sets a property. For a wrong name or value it throws librdkafka's text with the name and a remedy.
    func set(_ name: String, _ value: String) throws(KafkaError) {
        var text = [CChar](repeating: 0, count: 512)
        let result = rd_kafka_conf_set(pointer, name, value, &text, text.count)
        guard result != RD_KAFKA_CONF_OK else { return }
        throw KafkaProperties.refusal(of: name, value: value, isUnknown: result == RD_KAFKA_CONF_UNKNOWN, text: text.asString)
    }

    /// Sets a property if this version of librdkafka has it; false otherwise.
    func setIfKnown(_ name: String, _ value: String) -> Bool {
        rd_kafka_conf_set(pointer, name, value, nil, 0) == RD_KAFKA_CONF_OK
    }

    /// A property's value; `nil` where this version of librdkafka does not have it.
    func value(of name: String) -> String? {
        var text = [CChar](repeating: 0, count: 512)
        var count = text.count
        return rd_kafka_conf_get(pointer, name, &text, &count) == RD_KAFKA_CONF_OK ? text.asString : nil
    }

    /// Sets which kinds of events `rd_kafka_queue_poll` returns instead of calling back.
    func setEvents(_ mask: Int32) { rd_kafka_conf_set_events(pointer, mask) }

    /// Makes the client, which takes over the configuration.
    /// - Parameter callbacks: must outlive the client.
    consuming func makeClient(_ type: rd_kafka_type_t, _ callbacks: ClientCallbacks) throws(KafkaError) -> ClientHandle {
        rd_kafka_conf_set_opaque(pointer, Unmanaged.passUnretained(callbacks).toOpaque())
        rd_kafka_conf_set_log_cb(pointer, ClientCallbacks.logged)
        let hasTokens = callbacks.tokens != nil
        if hasTokens {
            rd_kafka_conf_set_oauthbearer_token_refresh_cb(pointer, ClientCallbacks.tokenWanted)
            // Its own queue, so that librdkafka's background thread can serve it: nobody polls the metadata client's main queue.
            rd_kafka_conf_enable_sasl_queue(pointer, 1)
        }
        var text = [CChar](repeating: 0, count: 512)
        guard let client = rd_kafka_new(type, pointer, &text, text.count) else {
            // On failure librdkafka does not take over the configuration.
            _ = consume self
            throw KafkaError(
                .configuration, "librdkafka refuses the configuration: \(text.asString); check kafka.properties")
        }
        discard self
        let handle = ClientHandle(owning: client)
        if hasTokens, let error = rd_kafka_sasl_background_callbacks_enable(client) {
            defer { rd_kafka_error_destroy(error) }
            throw KafkaError(
                .configuration, "no OAUTHBEARER tokens: \(String(cString: rd_kafka_error_string(error))); check kafka.properties")
        }
        return handle
    }
}

extension [CChar] {
    /// The text before the first NUL.
    var asString: String {
        String(decoding: prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
