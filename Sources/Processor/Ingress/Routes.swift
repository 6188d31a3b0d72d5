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
        var verb: AdminDesk.Verb? {
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
    private let gate: EventGate?
    private let limits: IngressLimits?
    private let shedding: IngressShedding?
    private let desk: AdminDesk?
    private let access: DoorAccess
    private let registry: MetricsRegistry
    private let health: Health
    private let requests: Family<Counter>
    private let counters = Mutex<[Int: Counter]>([:])
    private let alive = HTTPResponse.json(200, .object([.init("status", .string("alive"))])).prepared()
    private let description: HTTPResponse
    private let unsupported = HTTPResponse.problem(
        status: 415, title: "Unsupported Media Type",
        detail: "POST /send takes one event as application/json."
    ).prepared()

    /// - Parameters:
    ///   - limits: what `POST /send` takes; `nil`: everything.
    ///   - shedding: refuses events at their header; `nil`: none is.
    ///   - desk: takes what operators ask for; `nil`: this process has no worker to steer.
    init(
        role: Role, gate: EventGate?, limits: IngressLimits? = nil, shedding: IngressShedding? = nil, desk: AdminDesk?,
        access: DoorAccess = DoorAccess(HTTPSettings()), registry: MetricsRegistry, health: Health
    ) {
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
        self.access = access
        self.registry = registry
        self.health = health
        requests = registry.counterFamily(
            "sluice_http_requests_total", help: "Answered requests by route and status; 0: the client left before the answer.",
            labels: ["route", "status"])
        for route in known { requests.child(route.rawValue, "200") }
    }

    func isVital(_ route: Int) -> Bool { known[route].isVital }

    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission {
        let route = known[head.route]
        if let verb = route.verb, let desk { return desk.admit(head, verb) }
        if route == .metrics, let refusal = access.refusalOfMetrics(head) { return .respond(refusal) }
        guard route == .send else { return .readBody(limit: 0) }
        if case .refused(let refusal) = access.send(head) { return .respond(refusal) }
        // curl -d names a form where nobody says otherwise; the body is JSON all the same, or the event is refused as malformed.
        let isTaken =
            head.hasMediaType("application/json") || head.hasMediaType("application/x-www-form-urlencoded")
            || head.header("Content-Type") == nil
        // Before the body is read: a refusal must be cheap. What is shed costs its client nothing of its quota.
        if isTaken, let refusal = shedding?.refusal() { return .respond(refusal) }
        if let refusal = limits?.admit(head) { return .respond(refusal.response) }
        guard isTaken else { return .respond(unsupported) }
        return .readBody()
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        let route = known[request.route]
        switch route {
        case .pause, .resume, .pauses: if let verb = route.verb { desk?.handle(request, verb, exchange) }
        case .send:
            if let refusal = limits?.charge(request) {
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
