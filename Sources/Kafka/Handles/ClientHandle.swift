// Owns an `rd_kafka_t`, and the object through which threads share one.

internal import CKafka
internal import Synchronization

/// One librdkafka client. Destroying it joins librdkafka's threads and may block: only threads of this module release it.
struct ClientHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: as for ``Client``.

    fileprivate let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    // Leaving the group is done by the consumer before, under a deadline.
    deinit { rd_kafka_destroy_flags(pointer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
}

/// A client that several threads use.
final class Client: @unchecked Sendable {
    // Licence for @unchecked: "librdkafka is completely thread-safe" (rdkafka.h, INTRODUCTION.md) for every call but destroy.
    // Destroy runs once: either in `destroy()`, whose callers have ended all other use, or with the last reference.

    /// The client. Not to be used after ``destroy()``.
    let pointer: OpaquePointer
    private let handle: Mutex<ClientHandle?>
    private let callbacks: ClientCallbacks

    /// - Parameter settings: whose token command and log the client uses.
    init(
        _ type: rd_kafka_type_t, _ configuration: consuming ConfigurationHandle, _ settings: KafkaClientConfiguration
    ) throws(KafkaError) {
        let tokens = settings.tokenCommand.isEmpty ? nil : try TokenRefresh(settings.tokenCommand)
        let callbacks = ClientCallbacks(log: LogSink(settings.log), tokens: tokens)
        let made = try configuration.makeClient(type, callbacks)
        pointer = made.pointer
        handle = Mutex(made)
        self.callbacks = callbacks
    }

    // Here, because the callbacks must outlive the handle.
    deinit { destroy() }

    /// Destroys the client now; blocks until librdkafka's threads have ended.
    func destroy() {
        callbacks.tokens?.close()
        let last = handle.withLock { $0.take() }
        _ = consume last
    }

    /// The cause of the client's fatal error; `nil` where there is none.
    func fatalError() -> KafkaError? {
        var text = [CChar](repeating: 0, count: 512)
        let error = rd_kafka_fatal_error(pointer, &text, text.count)
        guard error != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        let cause = KafkaError(error, text.asString)
        let code: KafkaError.Code = cause.code == .fenced ? .fenced : .fatal
        let remedy =
            error == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
            ? "; another process has joined with the same kafka.group_instance_id: give each process its own" : ""
        return KafkaError(
            code: code, kafkaCode: error.rawValue, message: text.asString + remedy, isRetriable: false, mayBePersisted: false)
    }
}
