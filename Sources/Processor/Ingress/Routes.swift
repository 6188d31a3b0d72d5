// Owns the HTTP routes: which exist in a role, and which part of the process answers each.

import Admission
import HTTPServer
import Platform
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
    private let requestSeconds: Histogram
    // Licence for nonisolated(unsafe): the next three are used on the HTTP server's one loop thread alone (the contract of HTTPHandler).
    /// By route and status.
    nonisolated(unsafe) private var counters: [Int: Counter] = [:]
    /// The requests to `POST /send` that ended in this iteration of the loop.
    nonisolated(unsafe) private var durations = DurationBuckets(perSecond: 1e9)
    /// Documents by the routes they describe, made when they are first asked for.
    nonisolated(unsafe) private var descriptions: [[Route]: HTTPResponse] = [:]
    private let alive = HTTPResponse.json(200, .object([.init("status", .string("alive"))])).prepared()
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
        requestSeconds = registry.histogram(
            "sluice_http_request_seconds", help: "Time from the header of a request to POST /send to the end of its response.")
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
        let name: String?
        do throws(Denial) {
            if route == .metrics { try authorizer.readMetrics(head) }
            guard route == .send, eventProducer != nil else { return .readBody(limit: 0) }
            name = try authorizer.send(head)
        } catch {
            return .respond(error.response)
        }
        guard let eventProducer else { return .readBody(limit: 0) }
        let request = SendRequest(
            bounds: eventProducer.bounds.current, limits: limits,
            client: limits?.client(of: head, name) ?? .unknown, headers: eventProducer.headers(of: head))
        let bounds = request.bounds
        // The first byte tells one event from an array of them. A body whose Content-Length is too large is refused by the server.
        let peek = HTTPAdmission.peek(limit: bounds.bodyBytes, context: request)
        let length = head.contentLength
        if let length, length > bounds.bodyBytes, head.header("Content-Encoding") == nil { return peek }
        // curl -d sends the media type of a form by default; a body that is no JSON is refused as malformed.
        let isJSON =
            !head.hasContentType || head.hasMediaType("application/json")
            || head.hasMediaType("application/x-www-form-urlencoded")
        let linesTypes: [StaticString] = ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        let isLines = !isJSON && linesTypes.contains { head.hasMediaType($0) }
        // Before the body is read, so that a refusal is cheap, and before the limits, so that it costs nothing of the client's quota.
        if isJSON || isLines, let refusal = eventProducer.refusal ?? shedding?.refusal() { return .respond(refusal) }
        // A body longer than an event must be a batch.
        if let refusal = request.admit(length: isLines ? nil : length.flatMap { $0 > bounds.eventBytes ? nil : $0 }) {
            return .respond(refusal.response, context: request)
        }
        if isJSON { return peek }
        guard isLines else { return .respond(unsupported, context: request) }
        return .stream(
            BatchIngest(.lines, request, eventProducer: eventProducer, shedding: shedding), limit: bounds.bodyBytes,
            context: request)
    }

    func choose(
        _ head: borrowing HTTPRequestHead, _ exchange: HTTPExchange, firstBytes: UnsafeRawBufferPointer
    ) -> HTTPBodyChoice {
        guard let eventProducer, let request = exchange.context as? SendRequest, let first = request.firstByte(of: firstBytes)
        else { return .skip }
        if first == UInt8(ascii: "[") {
            return .stream(BatchIngest(.array, request, eventProducer: eventProducer, shedding: shedding))
        }
        request.awaitsEvent = true
        return .collect(limit: request.bounds.eventBytes)
    }

    func response(to refusal: HTTPRefusal) -> HTTPResponse { refusal.response }

    func responseToLongBody(of exchange: HTTPExchange, limit: Int) -> HTTPResponse {
        guard let request = exchange.context as? SendRequest else { return HTTPRefusal.bodyTooLarge(limit: limit).response }
        return request.awaitsEvent
            ? ResultTable.tooLarge(limit).response
            : ProblemDetails(status: 413, detail: "A body may have at most \(limit) bytes (http.max_body_bytes).").response
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        let route = known[request.head.route]
        switch route {
        case .pause, .resume, .retry, .pauses: if let verb = route.verb { admin?.handle(request, verb, exchange) }
        case .send:
            guard let eventProducer, let sent = exchange.context as? SendRequest else { return }
            sent.awaitsEvent = false
            if let refusal = sent.charge(events: 1, bytes: request.wireBytes, lost: request.wireBytes) {
                eventProducer.counters.count(refusal.status)
                exchange.respond(refusal.response)
            } else {
                eventProducer.take(sent.event(in: request.body), sent.headers, exchange)
            }
        case .metrics: metrics.answer(exchange)
        case .livez: exchange.respond(alive)
        case .readyz: exchange.respond(health.readiness(isDetailed: authorizer.mayReadDetails(request.head)))
        case .openAPI:
            let routes = offered
            let response =
                descriptions[routes]
                ?? HTTPResponse.json(200, OpenAPIDocument.make(routes, header: eventProducer?.routeHeader))
                .prepared()
            descriptions[routes] = response
            exchange.respond(response)
        case .index:
            let list = offered.map { "\($0.pattern.method.rawValue) \($0.rawValue)" }.joined(separator: "\n")
            exchange.respond(.text(200, "Sluice\n\n\(list)\n"))
        }
    }

    func iterationEnded() {
        eventProducer?.produceGathered()
        durations.flush(into: requestSeconds)
    }

    func ended(_ outcome: HTTPOutcome, _ exchange: HTTPExchange) {
        if let sent = exchange.context as? SendRequest {
            sent.ended(wireBytes: outcome.wireBytes)
            // An event that was too long to be handled.
            if sent.awaitsEvent, outcome.status == 413 { eventProducer?.counters.count(413) }
        }
        if let route = outcome.route, known[route] == .send { durations.add(CollectionOfOne(outcome.duration)) }
        let status = outcome.status ?? 0
        let key = (outcome.route ?? -1) << 16 | status
        let counter = counters[key] ?? requests.child(outcome.route.map { known[$0].rawValue } ?? "other", "\(status)")
        counters[key] = counter
        counter.increment()
    }
}
