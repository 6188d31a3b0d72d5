// Refuses requests at their header while the pipeline or the producer does not keep up, and shows it in metrics and health.

import Admission
import Backpressure
import HTTPServer
import Kafka
import Platform
import Synchronization
import Telemetry

/// The load shedding of one process.
final class IngressShedding: Sendable {
    /// Time between two checks of the levels. At most the requests of one interval are admitted beyond twice a threshold.
    static let interval = Duration.milliseconds(100)

    private let shedder: LoadShedder
    private let refused: [Counter]
    private let producer = Mutex<(producer: KafkaProducer, bound: Credits)?>(nil)

    init(_ limits: SheddingLimits, registry: MetricsRegistry) {
        let shedder = LoadShedder(limits)
        self.shedder = shedder
        registry.collector(
            "sluice_shed_share", type: .gauge,
            help: "Share of the requests to POST /send refused by load shedding, 0 to 1."
        ) { sink in sink.sample(shedder.decision.share) }
        let requests = registry.counterFamily(
            "sluice_shed_requests_total", help: "Requests refused by load shedding, by cause.",
            labels: ["cause"])
        refused = SheddingCause.allCases.map { requests.child($0.name) }
        registry.collector(
            "sluice_shed_retry_after_seconds", type: .gauge,
            help: "Retry-After of refused requests in seconds, without jitter; 0 while none is refused."
        ) { sink in sink.sample(shedder.decision.retryAfter) }
        registry.collector(
            "sluice_shed_signal_known", type: .gauge,
            help: "1 while the level of a cause can be measured; without a level, nothing is refused because of it."
        ) { sink in
            for cause in SheddingCause.allCases { sink.sample(shedder.level(of: cause) == nil ? 0 : 1, ["cause": cause.name]) }
        }
        for name in ["sluice_producer_queue_records", "sluice_producer_queue_bytes"] {
            let isBytes = name.hasSuffix("bytes")
            registry.collector(
                name, type: .gauge,
                help: "\(isBytes ? "Bytes of keys and payloads" : "Records") that were produced and are not acknowledged yet."
            ) { [weak self] sink in
                let statistics = self?.producer.withLock { $0 }?.producer.statistics
                sink.sample((isBytes ? statistics?.inFlightBytes : statistics?.inFlightRecords) ?? 0)
            }
        }
    }

    /// Applies other thresholds from the next check on.
    func update(_ limits: SheddingLimits) { shedder.update(limits) }

    /// Sets the producer whose queue is checked. `bound`: what its queue holds at most.
    func watch(_ producer: KafkaProducer, bound: Credits) { self.producer.withLock { $0 = (producer, bound) } }

    /// Checks the levels at ``interval`` until cancelled.
    /// - Parameter inputs: lag and credits at a monotonic instant.
    func run(_ inputs: @Sendable (_ now: UInt64) -> SheddingInputs) async throws {
        while true {
            let now = MonotonicClock.nanoseconds()
            check(inputs(now), now: now)
            try await Task.sleep(for: Self.interval)
        }
    }

    /// Checks the levels once, with the producer's added to `inputs`.
    func check(_ inputs: SheddingInputs, now: UInt64) {
        var inputs = inputs
        inputs.producer = producer.withLock { $0 }.map { producer, bound in
            let statistics = producer.statistics
            return SheddingInputs.Producer(
                inFlight: Credits(records: statistics.inFlightRecords, bytes: statistics.inFlightBytes), bound: bound,
                delivered: statistics.delivered)
        }
        shedder.evaluate(inputs, now: now)
    }

    /// The response to a request whose header has arrived; `nil`: it is admitted.
    func refusal() -> HTTPResponse? {
        guard let refusal = refuse() else { return nil }
        var problem = Self.problem(refusal)
        // Type and title: draft-ietf-httpapi-ratelimit-headers-11, problem types.
        problem.type = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
        problem.ownTitle = "Request cannot be satisfied due to temporary server capacity constraints"
        problem.members.append(.init("retry_after", .integer(refusal.retryAfter)))
        return problem.response
    }

    /// Whether batches are suspended at `now`, monotonic nanoseconds.
    func isHolding(at now: UInt64) -> Bool { shedder.mustPauseReading(at: now) }

    /// The answer to the remaining events of a batch that has been suspended for too long; `nil`: they are admitted.
    func refusalOfRest() -> ProblemDetails? {
        refuse().map(Self.problem)
    }

    private func refuse() -> SheddingRefusal? {
        guard let refusal = shedder.admit() else { return nil }
        refused[refusal.cause.rawValue].increment()
        return refusal
    }

    /// The share of requests that is refused now, and why.
    var decision: SheddingDecision { shedder.decision }

    private static func problem(_ refusal: SheddingRefusal) -> ProblemDetails {
        let cause =
            switch refusal.cause {
            case .lag: "More events wait to be applied than limits.shed.lag_records allows."
            case .timeLag: "Events wait longer to be applied than limits.shed.lag_seconds allows."
            case .credits: "Fewer credits of the pipeline are free than limits.shed.credits requires."
            case .producerQueue: "More events wait for the broker than limits.shed.producer_queue allows."
            }
        return ProblemDetails(
            status: 503, detail: "\(cause) Nothing was written; try again in \(refusal.retryAfter) s.",
            members: [.init("cause", .string(refusal.cause.name))], possiblyPersisted: false, retryAfter: refusal.retryAfter)
    }
}
