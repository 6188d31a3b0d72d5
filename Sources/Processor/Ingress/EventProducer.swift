// Validates events, hands them to the Kafka producer, and answers when the broker has acknowledged them.

import Decode
import HTTPServer
import Kafka
import Platform
import Records
import Synchronization
import Telemetry

/// The producing side of `POST /send`.
final class EventProducer: DeliveryHandler, @unchecked Sendable {
    // Licence for @unchecked: `validator` and `key` are used by ``take(_:_:)`` and ``check(_:)`` only, `waitingBatches`, `group` and
    // `gathered` by the readers of bodies, all on the HTTP server's one loop thread (the contracts of HTTPHandler and HTTPBodyReader).
    // `reported` belongs to the producer's report thread. The binding is behind its lock.

    /// The Kafka producer, and the topic it writes to.
    struct ProducerBinding: Sendable {
        let producer: KafkaProducer
        let topic: ProducerTopic
    }

    let bounds: BatchBounds
    let counters: EventCounters
    let failures: ProduceFailures
    /// The memory of all batches.
    let budget: ResultBudget
    let waitLimit: Duration
    /// Batches that wait for the producer's queue, or because load shedding suspends them.
    var waitingBatches = 0
    /// The events that a batch hands to the producer together.
    var group = ProducerGroup()
    /// Single events that were read in one iteration of the HTTP loop.
    private var gathered = ProducerGroup()
    /// Reports of one batch that it has not been told of yet. The report thread only.
    private var reported: (batch: UnsafeMutableRawPointer?, events: Int) = (nil, 0)
    private let validator: any EventValidator
    private var key = ByteBuffer(capacity: 64)
    private let isStopped = Atomic(false)
    private let probed = Mutex<(error: (text: String, since: UInt64)?, trouble: String?)>((nil, nil))
    private let bound = Mutex<ProducerBinding?>(nil)
    /// Most bytes of an event that waits for the end of the loop's iteration; a larger one is produced alone.
    private static let gatheredBytes = 16 << 10
    /// How long Kafka may be away, in nanoseconds, before the ingress is not ready.
    private static let outage: UInt64 = 60_000_000_000
    private static let notReady = ProblemDetails.unavailable("Kafka has not been reached yet. Nothing was written.")

    /// - Parameters:
    ///   - validator: checks the events of the topic; nobody else uses it.
    ///   - waitLimit: how long a batch waits before the rest of its events is refused. Longer than a healthy broker needs to acknowledge a
    ///     queue of events, shorter than the time-outs of most clients.
    init(
        _ validator: any EventValidator, registry: MetricsRegistry = MetricsRegistry(), bounds: BatchBounds = BatchBounds(),
        budget: ResultBudget = ResultBudget(), waitLimit: Duration = .seconds(5), logger: Logger = .silent
    ) {
        self.waitLimit = waitLimit
        self.validator = validator
        self.bounds = bounds
        self.budget = budget
        counters = EventCounters(registry)
        failures = ProduceFailures(registry, logger)
    }

    /// Events can be produced from now on.
    func bind(_ producer: KafkaProducer, topic: ProducerTopic) {
        bound.withLock { $0 = ProducerBinding(producer: producer, topic: topic) }
    }

    /// Refuses further events; those that were produced are still answered.
    func stop() { isStopped.store(true, ordering: .releasing) }

    /// - Parameters:
    ///   - kafkaError: why the brokers would not take events when they were last asked; `nil`: they would.
    ///   - partitionTrouble: why some partitions cannot be written.
    func update(kafkaError: String?, partitionTrouble: String? = nil, now: UInt64 = MonotonicClock.nanoseconds()) {
        probed.withLock { probed in probed = (kafkaError.map { ($0, probed.error?.since ?? now) }, partitionTrouble) }
    }

    /// Why events of some partitions cannot be produced; `nil`: those of all partitions can, or none.
    var partitionTrouble: String? { probed.withLock { $0.trouble } }

    /// Why events cannot be produced; `nil`: they can.
    /// - Returns: the reason, and whether it is one for clients to go elsewhere: no process has reached Kafka, or has not for a minute. Until
    ///   then this one's answers, with their `Retry-After`, say more than those of a load balancer without a server.
    func unavailability(now: UInt64 = MonotonicClock.nanoseconds()) -> (reason: String, isLasting: Bool)? {
        if isStopped.load(ordering: .acquiring) { return ("the process is stopping", true) }
        let error = probed.withLock { $0.error }
        if bound.withLock({ $0 == nil }) { return (error?.text ?? "Kafka has not been reached yet", true) }
        return error.map { ($0.text, now >= $0.since + Self.outage) }
    }

    /// The answer to every event while there is no producer; `nil`: there is one.
    var refusal: HTTPResponse? {
        if isStopped.load(ordering: .acquiring) { return HTTPRefusal.stopping.response }
        return bound.withLock { $0 == nil } ? Self.notReady.response : nil
    }

    /// Validates one event and produces it. The exchange is answered now, or from the delivery report.
    /// - Parameter headers: those of its record.
    func take(_ body: UnsafeRawBufferPointer, _ headers: [ProducerHeader], _ exchange: HTTPExchange) {
        guard let binding = bound.withLock({ isStopped.load(ordering: .acquiring) ? nil : $0 }) else {
            counters.count(503)
            exchange.respond(refusal ?? HTTPRefusal.stopping.response)
            return
        }
        if let fault = check(body, headers) {
            counters.count(400)
            exchange.respond(ProblemDetails.invalidEvent(fault, in: body).response)
            return
        }
        // The exchange travels as the record's token, retained until its report.
        let token = UInt(bitPattern: Unmanaged.passRetained(exchange).toOpaque())
        guard body.count <= Self.gatheredBytes else {
            let error = binding.producer.produce(
                binding.topic, key: checkedKey, value: body, headers: headers, token: token)
            if let error { refused(token, error) }
            return
        }
        if gathered.headers != headers { produceGathered() }
        gathered.headers = headers
        gathered.append(key: checkedKey, copying: body, token: token)
        if gathered.count >= binding.producer.groupRecords { produceGathered() }
    }

    /// Produces the single events of this iteration of the loop together, so that none waits for events that have not arrived.
    func produceGathered() {
        guard gathered.count > 0 else { return }
        // Bound before the first event was gathered, and never unbound.
        guard let binding = bound.withLock({ $0 }) else { return }
        binding.producer.produce(binding.topic, &gathered) { refused($0, $1) }
    }

    private func refused(_ token: UInt, _ error: KafkaError) {
        failures.failed(error)
        answer(error, Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue())
    }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        if let error { failures.failed(error) }
        if token & BatchResults.tokenMark != 0 {
            let batch = BatchIngest.note(token, error.map { ResultTable.code(of: $0) } ?? ResultTable.sent)
            if batch != reported.batch { reportsEnded() }
            reported = (batch, reported.events + 1)
            return
        }
        let exchange = Unmanaged<HTTPExchange>.fromOpaque(UnsafeRawPointer(bitPattern: token)!).takeRetainedValue()
        if let error { return answer(error, exchange) }
        counters.sent.increment()
        exchange.respond(KafkaAnswers.sent)
    }

    func reportsEnded() {
        guard let batch = reported.batch else { return }
        BatchIngest.settle(batch, reported.events)
        reported = (nil, 0)
    }

    private func answer(_ error: KafkaError, _ exchange: HTTPExchange) {
        let problem = KafkaAnswers.problem(error)
        counters.count(problem.status)
        exchange.respond(problem.response)
    }

    // MARK: Batches

    /// The producer for the events of a batch.
    /// - Throws: the answer to every event, where none can be produced now.
    func binding() throws(ProblemDetails) -> ProducerBinding {
        if isStopped.load(ordering: .acquiring) { throw KafkaAnswers.problem(.closed) }
        guard let binding = bound.withLock({ $0 }) else { throw Self.notReady }
        return binding
    }

    /// The headers of the records of a request: the field that has the name of the header which routes the topic. A longer value than those
    /// of the route is none, because the bytes of headers are not counted while records wait for the broker.
    func headers(of head: borrowing HTTPRequestHead) -> [ProducerHeader] {
        guard let header = validator.routeHeader, let value = head.headers(header.name).last else { return [] }
        return value.utf8.count > header.longest ? [] : [ProducerHeader(header.name, Array(value.utf8))]
    }

    /// Checks an event. If it is valid, ``checkedKey`` is its Kafka key.
    func check(_ event: UnsafeRawBufferPointer, _ headers: [ProducerHeader]) -> DecodeFault? {
        key.removeAll()
        return validator.validate(event, header: headers.first?.value, key: &key)
    }

    /// The name of the header that routes the topic; `nil`: none does.
    var routeHeader: String? { validator.routeHeader?.name }

    /// The key of the event that was checked last; `nil`: it has none. Valid until the next check.
    var checkedKey: UnsafeRawBufferPointer? { validator.hasKey ? key.bytes : nil }
}
