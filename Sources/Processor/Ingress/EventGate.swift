// Takes an event at the door: validates it, hands it to the producer, and answers when the broker has acknowledged it.

import Decode
import HTTPServer
import Kafka
import Records
import Synchronization
import Telemetry

/// The producing side of `POST /send`.
final class EventGate: DeliveryHandler, @unchecked Sendable {
    // Licence for @unchecked: `decoder` and `key` are used by ``take(_:_:)`` and ``check(_:)`` only, `waitingBatches` by the readers of
    // bodies, all on the HTTP server's one loop thread (the contracts of HTTPHandler and HTTPBodyReader). The producer is behind its
    // lock.

    /// Where events go.
    struct Door: Sendable {
        let producer: KafkaProducer
        let topic: ProducerTopic
    }

    /// Why there is no door.
    struct Closed: Error {
        let answer: EventAnswer
    }

    let bounds: BatchBounds
    let counters: EventCounters
    /// How results of batches are written.
    let results: ResultTable
    /// The memory of all batches' results.
    let budget: ResultBudget
    let patience: Duration
    /// Batches that wait for room in the producer.
    var waitingBatches = 0
    private let decoder: Decoder
    private var key = ByteBuffer(capacity: 64)
    private let answers = KafkaAnswers()
    private let isShut = Atomic(false)
    private let trouble = Mutex<String?>(nil)
    private let door = Mutex<Door?>(nil)
    private static let notReady = EventAnswer.unavailable("Kafka has not been reached yet. Nothing was written.")
    private let stoppingResponse = HTTPRefusal.stopping.problem.prepared()
    private let notReadyResponse = EventGate.notReady.response.prepared()

    /// - Parameter patience: how long a batch waits for room in the producer before the rest of its events is refused: longer than a
    ///   healthy broker needs to make room, shorter than the patience of most clients.
    init(
        mapping: Mapping, registry: MetricsRegistry = MetricsRegistry(), bounds: BatchBounds = BatchBounds(),
        budget: ResultBudget = ResultBudget(), patience: Duration = .seconds(5)
    ) {
        self.patience = patience
        decoder = Decoder(mapping: mapping)
        self.bounds = bounds
        self.budget = budget
        counters = EventCounters(registry)
        results = ResultTable(eventBytes: bounds.eventBytes)
    }

    /// Events can be produced from now on.
    func open(_ producer: KafkaProducer, topic: ProducerTopic) {
        door.withLock { $0 = Door(producer: producer, topic: topic) }
    }

    /// No event is taken any more; those under way are still answered.
    func shut() { isShut.store(true, ordering: .releasing) }

    /// What the brokers said when they were asked last: one sentence, or nil where all is well.
    func found(trouble: String?) { self.trouble.withLock { $0 = trouble } }

    /// Why events cannot be produced; nil: they can.
    var obstacle: String? {
        if isShut.load(ordering: .acquiring) { return "the process is stopping" }
        if door.withLock({ $0 == nil }) { return "Kafka has not been reached yet" }
        return trouble.withLock { $0 }
    }

    /// What every event would be answered now, whatever it is: there is no way to produce one; `nil`: there is.
    var refusal: HTTPResponse? {
        if isShut.load(ordering: .acquiring) { return stoppingResponse }
        return door.withLock { $0 == nil } ? notReadyResponse : nil
    }

    /// Validates one event and produces it. The exchange is answered now, or from the delivery report.
    func take(_ body: UnsafeRawBufferPointer, _ exchange: HTTPExchange) {
        if isShut.load(ordering: .acquiring) {
            counters.count(503)
            exchange.respond(stoppingResponse)
            return
        }
        guard let door = door.withLock({ $0 }) else {
            counters.count(503)
            exchange.respond(notReadyResponse)
            return
        }
        if let fault = check(body) {
            counters.count(400)
            exchange.respond(EventAnswer.bad(reason: fault.reason, detail: fault.detail).response)
            return
        }
        // The exchange travels as the record's token, retained until its report.
        let token = UInt(bitPattern: Unmanaged.passRetained(exchange).toOpaque())
        if let error = door.producer.produce(door.topic, key: checkedKey, value: body, token: token) {
            Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).release()
            answer(error, exchange)
        }
    }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        if token & BatchResults.tokenMark != 0 {
            return BatchIngest.reported(token, error.map { results.code(of: $0) } ?? ResultTable.sent)
        }
        let exchange = Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue()
        if let error { return answer(error, exchange) }
        counters.sent.increment()
        exchange.respond(answers.sent)
    }

    private func answer(_ error: KafkaError, _ exchange: HTTPExchange) {
        let answer = answers.answer(to: error)
        counters.count(answer.status)
        exchange.respond(answer)
    }

    // MARK: Batches

    /// A reader for a body with many events.
    func batch(_ format: BatchFormat, _ admission: any EventAdmission, _ shedding: IngressShedding?) -> BatchIngest {
        BatchIngest(format, gate: self, admission: admission, shedding: shedding)
    }

    /// Where events go now.
    func open() -> Result<Door, Closed> {
        if isShut.load(ordering: .acquiring) { return .failure(Closed(answer: KafkaAnswers.answer(to: .closed))) }
        guard let door = door.withLock({ $0 }) else { return .failure(Closed(answer: Self.notReady)) }
        return .success(door)
    }

    /// Checks an event. Where nothing is wrong with it, ``checkedKey`` is its Kafka key.
    func check(_ event: UnsafeRawBufferPointer) -> DecodeFault? {
        key.removeAll()
        return decoder.validate(event, key: &key)
    }

    /// The key of the event that was checked last. Valid until the next check.
    var checkedKey: UnsafeRawBufferPointer { key.bytes }
}
