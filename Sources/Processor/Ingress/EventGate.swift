// Takes an event at the door: validates it, hands it to the producer, and answers when the broker has acknowledged it.

import Decode
import HTTPServer
import Kafka
import Records
import Synchronization

/// The producing side of `POST /send`.
final class EventGate: DeliveryHandler, @unchecked Sendable {
    // Licence for @unchecked: `decoder` and `key` are used by ``take(_:_:)`` only, which is called on the HTTP server's one loop
    // thread (HTTPHandler's contract). The producer is behind its lock.

    private let decoder: Decoder
    private var key = ByteBuffer(capacity: 64)
    private let answers = KafkaAnswers()
    private let isShut = Atomic(false)
    private let trouble = Mutex<String?>(nil)
    private let producer = Mutex<(producer: KafkaProducer, topic: ProducerTopic)?>(nil)
    private let notReady = KafkaAnswers.unavailable("Kafka has not been reached yet. Nothing was written.").prepared()

    init(mapping: Mapping) { decoder = Decoder(mapping: mapping) }

    /// Events can be produced from now on.
    func open(_ producer: KafkaProducer, topic: ProducerTopic) { self.producer.withLock { $0 = (producer, topic) } }

    /// No event is taken any more; those under way are still answered.
    func shut() { isShut.store(true, ordering: .releasing) }

    /// What the brokers said when they were asked last: one sentence, or nil where all is well.
    func found(trouble: String?) { self.trouble.withLock { $0 = trouble } }

    /// Why events cannot be produced; nil: they can.
    var obstacle: String? {
        if isShut.load(ordering: .acquiring) { return "the process is stopping" }
        if producer.withLock({ $0 == nil }) { return "Kafka has not been reached yet" }
        return trouble.withLock { $0 }
    }

    /// Validates one event and produces it. The exchange is answered now, or from the delivery report.
    func take(_ body: UnsafeRawBufferPointer, _ exchange: HTTPExchange) {
        if isShut.load(ordering: .acquiring) {
            exchange.respond(HTTPRefusal.stopping.problem)
            return
        }
        guard let (producer, topic) = producer.withLock({ $0 }) else {
            exchange.respond(notReady)
            return
        }
        key.removeAll()
        if let fault = decoder.validate(body, key: &key) {
            exchange.respond(
                .problem(
                    status: 400, title: "Bad Request", detail: fault.detail, extra: [.init("reason", .string(fault.reason))]))
            return
        }
        // The exchange travels as the record's token, retained until its report.
        let token = UInt(bitPattern: Unmanaged.passRetained(exchange).toOpaque())
        if let error = producer.produce(topic, key: key.bytes, value: body, token: token) {
            Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).release()
            exchange.respond(answers.answer(to: error))
        }
    }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        let exchange = Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue()
        exchange.respond(error.map { answers.answer(to: $0) } ?? answers.sent)
    }
}
