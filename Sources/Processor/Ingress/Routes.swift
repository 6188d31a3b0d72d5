// Owns the HTTP routes: which exist in a role, and which part of the process answers each.

import HTTPServer
import Synchronization
import Telemetry

/// The request handler of a process.
final class Routes: HTTPHandler {
    /// A route; the raw value is its path, and its name in metrics.
    enum Route: String, CaseIterable {
        case index = "/"
        case send = "/send"
        case metrics = "/metrics"
        case livez = "/livez"
        case readyz = "/readyz"
        case openAPI = "/openapi.json"
        case pause = "/admin/pause"
        case resume = "/admin/resume"
        case retry = "/admin/retry"
        case pauses = "/admin/pauses"

        var pattern: HTTPRoute { HTTPRoute([.send, .pause, .resume, .retry].contains(self) ? .post : .get, rawValue) }

        /// What an operator does here; `nil`: it is not an operator's route.
        var verb: AdminController.Verb? {
            switch self {
            case .pause: .pause
            case .resume: .resume
            case .retry: .retry
            case .pauses: .list
            case .index, .send, .metrics, .livez, .readyz, .openAPI: nil
            }
        }

        /// Whether the reserved connection slots serve it.
        var isPriority: Bool {
            switch self {
            case .metrics, .livez, .readyz, .pause, .resume, .retry, .pauses: true
            case .index, .send, .openAPI: false
            }
        }
    }

    let routes: HTTPRoutes
    private let known: [Route]
    private let eventProducer: EventProducer?
    private let limits: IngressLimits?
    private let shedding: IngressShedding?
    private let admin: AdminController?
    private let authorizer: RequestAuthorizer
    private let metrics: MetricsPage
    private let health: Health
    private let requests: CounterFamily
    private let counters = Mutex<[Int: Counter]>([:])
    private let alive = HTTPResponse.json(200, .object([.init("status", .string("alive"))])).prepared()
    /// Documents by the routes they describe, made when they are first asked for.
    private let descriptions = Mutex<[[Route]: HTTPResponse]>([:])
    private let unsupported = ProblemDetails(
        status: 415,
        detail:
            "POST /send takes one event or an array of events as application/json, or one event a line as application/x-ndjson, in UTF-8."
    ).response.prepared()

    /// - Parameters:
    ///   - limits: rate limits of `POST /send`; `nil`: none.
    ///   - shedding: load shedding of `POST /send`; `nil`: none.
    ///   - admin: handles the operator's routes; `nil`: they do not exist, as this process has no worker.
    init(
        role: Role, eventProducer: EventProducer?, limits: IngressLimits? = nil, shedding: IngressShedding? = nil,
        admin: AdminController?, authorizer: RequestAuthorizer = RequestAuthorizer(HTTPSettings()), registry: MetricsRegistry,
        health: Health
    ) {
        known = Route.allCases.filter { route in
            switch route {
            case .send: role != .worker
            case .index: role != .ingress
            case .pause, .resume, .retry, .pauses: admin != nil
            case .metrics, .livez, .readyz, .openAPI: true
            }
        }
        routes = HTTPRoutes(known.map(\.pattern))
        self.eventProducer = eventProducer
        self.limits = limits
        self.shedding = shedding
        self.admin = admin
        self.authorizer = authorizer
        metrics = MetricsPage(registry)
        self.health = health
        requests = registry.counterFamily(
            "sluice_http_requests_total", help: "Requests by route and status; 0: the client disconnected before the response.",
            labels: ["route", "status"])
        for route in known { for status in route.statuses { requests.child(route.rawValue, "\(status)") } }
        for status in [400, 404, 405, 503] { requests.child("other", "\(status)") }
    }

    /// The routes that anybody may use by the settings in force.
    private var offered: [Route] {
        let (hasAdmin, hasMetrics) = (authorizer.hasAdmin, authorizer.hasMetrics)
        return known.filter { $0.verb == nil ? hasMetrics || $0 != .metrics : hasAdmin }
    }

    func isPriority(_ route: Int) -> Bool { known[route].isPriority }

    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission {
        let route = known[head.route]
        if let verb = route.verb, let admin { return admin.admit(head, verb) }
        let client: String?
        do throws(Denial) {
            if route == .metrics { try authorizer.readMetrics(head) }
            guard route == .send, eventProducer != nil else { return .readBody(limit: 0) }
            client = try authorizer.send(head)
        } catch {
            return .respond(error.response)
        }
        guard let eventProducer else { return .readBody(limit: 0) }
        // The server refuses it by its Content-Length; that costs nothing of the client's quota.
        if let length = head.contentLength, length > eventProducer.bounds.bodyBytes {
            return .peek(limit: eventProducer.bounds.bodyBytes)
        }
        // curl -d sends the media type of a form by default; a body that is no JSON is refused as malformed.
        let isJSON =
            head.hasMediaType("application/json") || head.hasMediaType("application/x-www-form-urlencoded")
            || head.header("Content-Type") == nil
        let isLines =
            !isJSON
            && (head.hasMediaType("application/x-ndjson") || head.hasMediaType("application/ndjson")
                || head.hasMediaType("application/jsonl"))
        // Before the body is read, so that a refusal is cheap, and before the limits, so that it costs nothing of the client's quota.
        if isJSON || isLines, let refusal = eventProducer.refusal ?? shedding?.refusal() { return .respond(refusal) }
        // A body longer than an event must be a batch.
        let isBatch = isLines || head.contentLength.map { $0 > eventProducer.bounds.eventBytes } ?? false
        if let refusal = limits?.admit(head, client, isStreamed: isBatch) { return .respond(refusal.response) }
        // The first byte tells one event from an array of them.
        if isJSON { return .peek(limit: eventProducer.bounds.bodyBytes) }
        guard isLines else { return .respond(unsupported) }
        let batch = BatchIngest(.lines, eventProducer: eventProducer, quota: limits?.quota(of: head, client), shedding: shedding)
        return .stream(batch, limit: eventProducer.bounds.bodyBytes)
    }

    func choose(_ head: borrowing HTTPRequestHead, firstBytes: UnsafeRawBufferPointer) -> HTTPBodyChoice {
        guard let eventProducer, let first = firstBytes.first(where: { !BoundaryMachine.isSpace($0) }) else { return .skip }
        guard first == UInt8(ascii: "[") else { return .collect() }
        let quota = limits?.quota(of: head, authorizer.client(of: head))
        return .stream(BatchIngest(.array, eventProducer: eventProducer, quota: quota, shedding: shedding))
    }

    func response(to refusal: HTTPRefusal) -> HTTPResponse {
        guard case .bodyTooLarge(let limit) = refusal, let eventProducer else { return refusal.response }
        // Other limits are those of the operator's routes, which are no settings.
        if limit == eventProducer.bounds.eventBytes {
            eventProducer.counters.count(413)
            return ResultTable.tooLarge(limit).response
        }
        guard limit == eventProducer.bounds.bodyBytes else { return refusal.response }
        return ProblemDetails(status: 413, detail: "A body may have at most \(limit) bytes (http.max_body_bytes).").response
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        let route = known[request.head.route]
        switch route {
        case .pause, .resume, .retry, .pauses: if let verb = route.verb { admin?.handle(request, verb, exchange) }
        case .send:
            if let refusal = limits?.charge(request, authorizer.client(of: request.head)) {
                eventProducer?.counters.count(refusal.status)
                exchange.respond(refusal.response)
            } else {
                eventProducer?.take(request.body, exchange)
            }
        case .metrics: metrics.answer(exchange)
        case .livez: exchange.respond(alive)
        case .readyz: exchange.respond(health.readiness(isDetailed: authorizer.mayReadDetails(request.head)))
        case .openAPI:
            let routes = offered
            let response = descriptions.withLock { known in
                let response = known[routes] ?? HTTPResponse.json(200, OpenAPIDocument.make(routes)).prepared()
                known[routes] = response
                return response
            }
            exchange.respond(response)
        case .index:
            let list = offered.map { "\($0.pattern.method.rawValue) \($0.rawValue)" }.joined(separator: "\n")
            exchange.respond(.text(200, "Sluice\n\n\(list)\n"))
        }
    }

    func iterationEnded() { eventProducer?.produceGathered() }

    func ended(_ outcome: HTTPOutcome) {
        let status = outcome.status ?? 0
        let key = (outcome.route ?? -1) << 16 | status
        let counter = counters.withLock { counters in
            if let known = counters[key] { return known }
            let route = outcome.route.map { known[$0].rawValue } ?? "other"
            let counter = requests.child(route, "\(status)")
            counters[key] = counter
            return counter
        }
        counter.increment()
    }
}
