// Decides who may send events, read the metrics, and use the operator's routes.

import HTTPServer
import Synchronization

/// Authorizes requests by the tokens in force, which change while the process runs.
///
/// A route that has tokens takes a request with one of them from any address. Without tokens:
///
/// | listener | `POST /send` (`http.tokens`) | `GET /metrics` (`http.metrics_token`) | `/admin` (`http.admin_token`) |
/// | --- | --- | --- | --- |
/// | on loopback | any, except from web pages of other hosts | local requests | local requests with `admin_on_loopback`, else none |
/// | elsewhere, `allow_unauthenticated` | any, except from web pages | none | none |
/// | elsewhere | none; the start is refused | none | none |
///
/// Where a route takes no request at all, it is as if it did not exist. The details of `/readyz` are for those who may read the metrics
/// or use `/admin`.
final class RequestAuthorizer: Sendable {
    /// The rules of one configuration, shared by the requests that are judged by it.
    private final class Rules: Sendable {
        let send: BearerTokens
        let metrics: BearerTokens
        let admin: BearerTokens
        let isBoundToLoopback: Bool
        let allowsUnauthenticated: Bool
        let adminOnLoopback: Bool

        var hasMetrics: Bool { !metrics.isEmpty || isBoundToLoopback }
        var hasAdmin: Bool { !admin.isEmpty || isBoundToLoopback && adminOnLoopback }

        init(_ http: HTTPSettings) {
            send = BearerTokens(http.tokens)
            metrics = BearerTokens(http.metricsToken.isEmpty ? [:] : ["metrics_token": http.metricsToken])
            admin = BearerTokens(http.adminToken.isEmpty ? [:] : ["admin_token": http.adminToken])
            isBoundToLoopback = HTTPSettings.isLoopback(http.host)
            allowsUnauthenticated = http.allowUnauthenticated
            adminOnLoopback = http.adminOnLoopback
        }
    }

    private let rules: Mutex<Rules>

    init(_ http: HTTPSettings) { rules = Mutex(Rules(http)) }

    /// Judges the next request by other settings.
    func update(_ http: HTTPSettings) {
        let updated = Rules(http)
        rules.withLock { $0 = updated }
    }

    private var current: Rules { rules.withLock { $0 } }

    /// Whether anybody may read the metrics.
    var hasMetrics: Bool { current.hasMetrics }

    /// Whether anybody may use the routes under `/admin`.
    var hasAdmin: Bool { current.hasAdmin }

    /// Authorizes a request to send events.
    /// - Returns: the name of its token; `nil` where no tokens are configured.
    func send(_ head: borrowing HTTPRequestHead) throws(Denial) -> String? {
        let rules = current
        guard rules.send.isEmpty else { return try Self.name(rules.send.claim(head)) }
        guard rules.isBoundToLoopback || rules.allowsUnauthenticated else { throw .sendWithoutTokens }
        // A browser that reaches this server would post for any page; it names the page's host. That this is the host of the request
        // proves nothing: with DNS rebinding the page's own name leads here.
        if let origin = head.header("Origin"), !rules.isBoundToLoopback || !RequestSender.isLoopback(origin: origin) {
            throw .foreignOrigin
        }
        return nil
    }

    /// Authorizes a request to read the metrics.
    func readMetrics(_ head: borrowing HTTPRequestHead) throws(Denial) {
        let rules = current
        guard rules.metrics.isEmpty else {
            _ = try Self.name(rules.metrics.claim(head))
            return
        }
        guard rules.hasMetrics else { throw .noSuchRoute }
        guard RequestSender(head).isLocal else { throw .metricsNotLocal }
    }

    /// Whether a request may see why the process is not ready.
    func mayReadDetails(_ head: borrowing HTTPRequestHead) -> Bool {
        (try? readMetrics(head)) != nil || (try? administer(head)) != nil
    }

    /// Authorizes a request to a route under `/admin`.
    /// - Returns: the caller's name: `admin_token`, or `loopback` without a token.
    func administer(_ head: borrowing HTTPRequestHead) throws(Denial) -> String {
        try administer(from: RequestSender(head)) { $0.claim(head) }
    }

    /// - Parameter claim: which of the tokens the request offers.
    func administer(
        from sender: RequestSender, _ claim: (BearerTokens) -> BearerTokens.Claim
    ) throws(Denial) -> String {
        let rules = current
        guard rules.admin.isEmpty else {
            return try Self.name(claim(rules.admin), missing: .adminTokenMissing, unknown: .adminTokenUnknown)
        }
        guard rules.hasAdmin else { throw .noSuchRoute }
        guard sender.isLocal else { throw .adminNotLocal }
        return "loopback"
    }

    private static func name(
        _ claim: BearerTokens.Claim, missing: Denial = .tokenMissing, unknown: Denial = .tokenUnknown
    ) throws(Denial) -> String {
        switch claim {
        case .known(let name): return name
        case .unknown: throw unknown
        case .missing: throw missing
        }
    }
}

/// Where a request comes from, and which host it was sent to.
struct RequestSender: Sendable {
    /// Numeric address; empty where it is unknown.
    var peer: String
    /// The header `Host`.
    var host: String?
    /// The header `Origin`, by which a browser names the page that makes the request.
    var origin: String?
    /// A header says that a proxy has forwarded the request.
    var isForwarded = false

    init(peer: String, host: String?) { (self.peer, self.host) = (peer, host) }

    init(_ head: borrowing HTTPRequestHead) {
        self.init(peer: head.remoteAddress, host: head.header("Host"))
        origin = head.header("Origin")
        let forwarding: [StaticString] = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"]
        isForwarded = forwarding.contains { head.header($0) != nil }
    }

    /// It comes from this machine, through no proxy that says so, and for no web page of another host. The host it was sent to counts
    /// because of DNS rebinding: the name of another host may lead a browser to this machine.
    var isLocal: Bool {
        HTTPSettings.isLoopback(peer) && !isForwarded && host.map(Self.isLoopback(host:)) ?? true
            && origin.map(Self.isLoopback(origin:)) ?? true
    }

    /// Whether an `Origin` is of this machine: `http://localhost:8000` is, `null` and other hosts are not.
    static func isLoopback(origin: String) -> Bool {
        guard let scheme = origin.firstRange(of: "://") else { return false }
        return isLoopback(host: String(origin[scheme.upperBound...]))
    }

    /// A port may stand behind the host: `[::1]:8000`, `localhost:8000`.
    private static func isLoopback(host: String) -> Bool {
        let isBracketed = host.hasPrefix("[")
        let name = host.drop { $0 == "[" }.prefix { $0 != (isBracketed ? "]" : ":") }
        return HTTPSettings.isLoopback(name.lowercased())
    }
}
