// Refuses requests at their header while what is behind the ingress does not keep up, and says so in answers, metrics and health.

import Admission
import Backpressure
import HTTPServer
import Kafka
import Synchronization
import Telemetry

/// The shedding of one process.
final class IngressShedding: Sendable {
    /// How often the levels are looked at. What is admitted in between is the most by which a threshold's double can be passed.
    static let interval = Duration.milliseconds(100)

    private let shedder: LoadShedder
    private let refused: [Counter]
    private let producer = Mutex<(producer: KafkaProducer, bound: Credits)?>(nil)
    /// One answer for each cause and wait, made when it is first given: at most 4 × 900, some hundred bytes each.
    private let answers = Mutex<[Int: HTTPResponse]>([:])

    init(_ limits: SheddingLimits, registry: MetricsRegistry) {
        let shedder = LoadShedder(limits)
        self.shedder = shedder
        registry.collector(
            "sluice_shed_share", type: .gauge,
            help: "Share of the requests to POST /send that is refused to let the pipe catch up, 0 to 1."
        ) { sink in sink.sample(shedder.order.share) }
        let requests = registry.counterFamily(
            "sluice_shed_requests_total", help: "Requests refused to let the pipe catch up, by what it is behind in.",
            labels: ["cause"])
        refused = SheddingCause.allCases.map { requests.child($0.name) }
        registry.collector(
            "sluice_shed_retry_after_seconds", type: .gauge,
            help: "Wait that refused callers are told, without jitter; 0 while none is refused."
        ) { sink in sink.sample(shedder.order.retryAfter) }
        registry.collector(
            "sluice_shed_signal_known", type: .gauge,
            help: "1 while what a cause is judged by is known; one that is not known refuses nothing."
        ) { sink in
            for cause in SheddingCause.allCases { sink.sample(shedder.level(of: cause) == nil ? 0 : 1, ["cause": cause.name]) }
        }
    }

    /// Other thresholds hold from the next look on.
    func update(_ limits: SheddingLimits) { shedder.update(limits) }

    /// The producer whose queue is looked at, and how much it takes.
    func watch(_ producer: KafkaProducer, bound: Credits) { self.producer.withLock { $0 = (producer, bound) } }

    /// Looks until cancelled.
    /// - Parameter facts: lag and credits at a monotonic instant.
    func run(_ facts: @Sendable (_ now: UInt64) -> SheddingInputs) async throws {
        while true {
            let now = MonotonicClock.nanoseconds()
            look(at: facts(now), now: now)
            try await Task.sleep(for: Self.interval)
        }
    }

    /// Looks once.
    func look(at facts: SheddingInputs, now: UInt64) {
        var facts = facts
        facts.producer = producer.withLock { $0 }.map { producer, bound in
            let statistics = producer.statistics
            return SheddingInputs.Producer(
                inFlight: Credits(records: statistics.inFlightRecords, bytes: statistics.inFlightBytes), bound: bound,
                delivered: statistics.delivered)
        }
        shedder.looked(at: facts, now: now)
    }

    /// A request has come. Answers what to refuse it with; `nil`: it is admitted.
    func refusal() -> HTTPResponse? {
        guard let refusal = refuse() else { return nil }
        return answers.withLock { answers in
            let key = refusal.retryAfter << 2 | refusal.cause.rawValue
            if let known = answers[key] { return known }
            let answer = Self.answer(to: refusal).prepared()
            answers[key] = answer
            return answer
        }
    }

    /// Whether a body that is being read has to wait at `now`, monotonic nanoseconds.
    func isHolding(at now: UInt64) -> Bool { shedder.isHolding(at: now) }

    /// A body that is being read has waited for too long. Answers what the rest of its events get; `nil`: they are admitted.
    func refusalOfRest() -> EventAnswer? {
        refuse().map { refusal in
            EventAnswer(
                status: 503, detail: Self.detail(refusal), members: Self.members(refusal), retryAfter: refusal.retryAfter)
        }
    }

    private func refuse() -> SheddingRefusal? {
        guard let refusal = shedder.requested() else { return nil }
        refused[refusal.cause.rawValue].increment()
        return refusal
    }

    /// What is done with requests now.
    var order: SheddingDecision { shedder.order }

    private static func detail(_ refusal: SheddingRefusal) -> String {
        let cause =
            switch refusal.cause {
            case .lag: "More events wait to be applied than limits.shed.lag_records allows."
            case .timeLag: "Events wait longer to be applied than limits.shed.lag_seconds allows."
            case .credits: "Less of the pipeline is free than limits.shed.credits asks for."
            case .producerQueue: "More events wait for the broker than limits.shed.producer_queue allows."
            }
        return "\(cause) Nothing was written; try again in \(refusal.retryAfter) s."
    }

    private static func members(_ refusal: SheddingRefusal) -> [JSONValue.Member] {
        [.init("cause", .string(refusal.cause.name)), .init("possibly_persisted", .bool(false))]
    }

    private static func answer(to refusal: SheddingRefusal) -> HTTPResponse {
        // Type and title: draft-ietf-httpapi-ratelimit-headers-11, problem types.
        .problem(
            status: 503, title: "Request cannot be satisfied due to temporary server capacity constraints",
            detail: detail(refusal), type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            extra: members(refusal) + [.init("retry_after", .integer(refusal.retryAfter))],
            headers: [("Retry-After", "\(refusal.retryAfter)")])
    }
}
