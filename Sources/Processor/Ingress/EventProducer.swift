// Takes an event at the door: validates it, hands it to the producer, and answers when the broker has acknowledged it.

import Decode
import HTTPServer
import Kafka
import Records
import Synchronization
import Telemetry

/// The producing side of `POST /send`.
final class EventProducer: DeliveryHandler, @unchecked Sendable {
    // Licence for @unchecked: `decoder` and `key` are used by ``take(_:_:)`` and ``check(_:)`` only, `waitingBatches`, `group` and `gathered` by the
    // readers of bodies, all on the HTTP server's one loop thread (the contracts of HTTPHandler and HTTPBodyReader). `reported` belongs
    // to the producer's report thread. The producer is behind its lock.

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
    let results = ResultTable()
    /// The memory of all batches.
    let budget: ResultBudget
    let patience: Duration
    /// Batches that wait for room in the producer, or for the pipe behind it.
    var waitingBatches = 0
    /// What a batch hands to the producer together.
    var group = ProducerGroup()
    /// Events of different requests that were read in one turn of the loop.
    private var gathered = ProducerGroup()
    /// Reports of one batch that it has not been told yet. The report thread only.
    private var reported: (batch: UnsafeMutableRawPointer?, events: Int) = (nil, 0)
    private let decoder: Decoder
    private var key = ByteBuffer(capacity: 64)
    private let answers = KafkaAnswers()
    private let isShut = Atomic(false)
    private let trouble = Mutex<String?>(nil)
    private let door = Mutex<Door?>(nil)
    /// Most bytes of an event that waits for the end of a turn: a larger one goes by itself.
    private static let gatheredBytes = 16 << 10
    private static let notReady = EventAnswer.unavailable("Kafka has not been reached yet. Nothing was written.")
    private let stoppingResponse = HTTPRefusal.stopping.problem.prepared()
    private let notReadyResponse = EventProducer.notReady.response.prepared()

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
        guard body.count <= Self.gatheredBytes else {
            if let error = door.producer.produce(door.topic, key: checkedKey, value: body, token: token) {
                refused(token, error)
            }
            return
        }
        gathered.append(key: checkedKey, copying: body, token: token)
        if gathered.count >= door.producer.groupRecords { produceGathered() }
    }

    /// Hands over the events that were read in this turn of the loop: what arrives together travels together, and nothing waits for more.
    func produceGathered() {
        guard gathered.count > 0 else { return }
        // There was one when they were gathered, and it stays.
        guard let door = door.withLock({ $0 }) else { return }
        door.producer.produce(door.topic, &gathered) { refused($0, $1) }
    }

    private func refused(_ token: UInt, _ error: KafkaError) {
        answer(error, Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue())
    }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        if token & BatchResults.tokenMark != 0 {
            let batch = BatchIngest.note(token, error.map { results.code(of: $0) } ?? ResultTable.sent)
            if batch != reported.batch { reportsEnded() }
            reported = (batch, reported.events + 1)
            return
        }
        let exchange = Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue()
        if let error { return answer(error, exchange) }
        counters.sent.increment()
        exchange.respond(answers.sent)
    }

    func reportsEnded() {
        guard let batch = reported.batch else { return }
        BatchIngest.settle(batch, reported.events)
        reported = (nil, 0)
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
