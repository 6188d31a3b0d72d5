// Owns the HTTP routes: who is asked, and what is answered.

import HTTPServer
import Synchronization
import Telemetry

/// The routes of a process, by its role.
final class Routes: HTTPHandler {
    /// A route: what it matches, and the name metrics know it by.
    enum Route: String, CaseIterable {
        case index = "/"
        case send = "/send"
        case metrics = "/metrics"
        case livez = "/livez"
        case readyz = "/readyz"
        case openAPI = "/openapi.json"
        case pause = "/admin/pause"
        case resume = "/admin/resume"
        case pauses = "/admin/pauses"

        var pattern: HTTPRoute { HTTPRoute([.send, .pause, .resume].contains(self) ? .post : .get, rawValue) }

        /// What an operator asks for here; `nil`: it is nobody's route in particular.
        var verb: AdminController.Verb? {
            switch self {
            case .pause: .pause
            case .resume: .resume
            case .pauses: .list
            case .index, .send, .metrics, .livez, .readyz, .openAPI: nil
            }
        }

        /// Also those whom the limits of connections leave outside come here.
        var isVital: Bool {
            switch self {
            case .metrics, .livez, .readyz, .pause, .resume, .pauses: true
            case .index, .send, .openAPI: false
            }
        }
    }

    let routes: HTTPRoutes
    private let known: [Route]
    private let gate: EventProducer?
    private let limits: IngressLimits?
    private let shedding: IngressShedding?
    private let admissions: any QuotaProvider
    private let desk: AdminController?
    private let authorizer: RequestAuthorizer
    private let registry: MetricsRegistry
    private let health: Health
    private let requests: Family<Counter>
    private let counters = Mutex<[Int: Counter]>([:])
    private let alive = HTTPResponse.json(200, .object([.init("status", .string("alive"))])).prepared()
    private let description: HTTPResponse
    private let unsupported = HTTPResponse.problem(
        status: 415, title: "Unsupported Media Type",
        detail:
            "POST /send takes one event, or an array of events, as application/json, or one event a line as application/x-ndjson."
    ).prepared()

    /// - Parameters:
    ///   - limits: what `POST /send` takes; `nil`: everything.
    ///   - shedding: refuses events at their header; `nil`: none is.
    ///   - desk: takes what operators ask for; `nil`: this process has no worker to steer.
    ///   - admissions: is asked about the events of batches; `nil`: the limits are.
    init(
        role: Role, gate: EventProducer?, limits: IngressLimits? = nil, shedding: IngressShedding? = nil, desk: AdminController?,
        authorizer: RequestAuthorizer = RequestAuthorizer(HTTPSettings()), registry: MetricsRegistry, health: Health,
        admissions: (any QuotaProvider)? = nil
    ) {
        self.admissions = admissions ?? limits ?? NoLimits()
        known = Route.allCases.filter { route in
            switch route {
            case .send: role != .worker
            case .index: role != .ingress
            case .pause, .resume, .pauses: desk != nil
            case .metrics, .livez, .readyz, .openAPI: true
            }
        }
        routes = HTTPRoutes(known.map(\.pattern))
        description = HTTPResponse.json(200, OpenAPIDocument.make(known)).prepared()
        self.gate = gate
        self.limits = limits
        self.shedding = shedding
        self.desk = desk
        self.authorizer = authorizer
        self.registry = registry
        self.health = health
        requests = registry.counterFamily(
            "sluice_http_requests_total", help: "Answered requests by route and status; 0: the client left before the answer.",
            labels: ["route", "status"])
        for route in known { for status in route.statuses { requests.child(route.rawValue, "\(status)") } }
        for status in [400, 404, 405, 503] { requests.child("other", "\(status)") }
    }

    func isVital(_ route: Int) -> Bool { known[route].isVital }

    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission {
        let route = known[head.route]
        if let verb = route.verb, let desk { return desk.admit(head, verb) }
        let client: String?
        do throws(Denial) {
            if route == .metrics { try authorizer.readMetrics(head) }
            guard route == .send, gate != nil else { return .readBody(limit: 0) }
            client = try authorizer.send(head)
        } catch {
            return .respond(error.response)
        }
        guard let gate else { return .readBody(limit: 0) }
        // Refused at once, by the server itself: it costs its client nothing of its quota.
        if let length = head.contentLength, length > gate.bounds.bodyBytes { return .look(limit: gate.bounds.bodyBytes) }
        // curl -d names a form where nobody says otherwise; the body is JSON all the same, or the event is refused as malformed.
        let isJSON =
            head.hasMediaType("application/json") || head.hasMediaType("application/x-www-form-urlencoded")
            || head.header("Content-Type") == nil
        let isLines =
            !isJSON
            && (head.hasMediaType("application/x-ndjson") || head.hasMediaType("application/ndjson")
                || head.hasMediaType("application/jsonl"))
        // Before the body is read: a refusal must be cheap. What the server refuses for its own reasons costs its client nothing.
        if isJSON || isLines, let refusal = gate.refusal ?? shedding?.refusal() { return .respond(refusal) }
        // What is longer than an event can only be a batch.
        let isBatch = isLines || head.contentLength.map { $0 > gate.bounds.eventBytes } ?? false
        if let refusal = limits?.admit(head, client, isStreamed: isBatch) { return .respond(refusal.response) }
        // One event or an array of them: the first byte tells.
        if isJSON { return .look(limit: gate.bounds.bodyBytes) }
        guard isLines else { return .respond(unsupported) }
        return .stream(gate.batch(.lines, admissions.account(for: head, client), shedding), limit: gate.bounds.bodyBytes)
    }

    func choose(_ head: borrowing HTTPRequestHead, firstBytes: UnsafeRawBufferPointer) -> HTTPBodyChoice {
        guard let gate, let first = firstBytes.first(where: { !BoundaryMachine.isSpace($0) }) else { return .skip }
        guard first == UInt8(ascii: "[") else { return .collect() }
        return .stream(gate.batch(.array, admissions.account(for: head, authorizer.client(of: head)), shedding))
    }

    func response(to refusal: HTTPRefusal) -> HTTPResponse {
        guard case .bodyTooLarge(let limit) = refusal, let gate else { return refusal.problem }
        // The operator's routes have bounds of their own, which no key sets.
        if limit == gate.bounds.eventBytes {
            gate.counters.count(413)
            return ResultTable.tooLarge(limit).response
        }
        guard limit == gate.bounds.bodyBytes else { return refusal.problem }
        return EventAnswer(status: 413, detail: "A body may have at most \(limit) bytes (http.max_body_bytes).").response
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        let route = known[request.route]
        switch route {
        case .pause, .resume, .pauses: if let verb = route.verb { desk?.handle(request, verb, exchange) }
        case .send:
            if let refusal = limits?.charge(request, authorizer.client(of: request.head)) {
                gate?.counters.count(refusal.status)
                exchange.respond(refusal.response)
            } else {
                gate?.take(request.body, exchange)
            }
        case .metrics:
            exchange.respond(
                HTTPResponse(
                    status: 200, headers: [("Content-Type", MetricsRegistry.contentType)], body: registry.render()))
        case .livez: exchange.respond(alive)
        case .readyz: exchange.respond(health.readiness())
        case .openAPI: exchange.respond(description)
        case .index:
            let list = known.map { "\($0.pattern.method.rawValue) \($0.rawValue)" }.joined(separator: "\n")
            exchange.respond(.text(200, "Sluice\n\n\(list)\n"))
        }
    }

    func turnEnded() { gate?.produceGathered() }

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
