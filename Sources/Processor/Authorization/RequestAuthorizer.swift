// Decides who may send events, read the metrics, and use the operator's routes.

import HTTPServer
import Synchronization

/// Authorizes requests by the tokens in force, which change while the process runs.
///
/// A route that has tokens takes a request with one of them from any address. Without tokens:
///
/// | listener | `POST /send` (`http.tokens`) | `GET /metrics` (`http.metrics_token`) | `/admin` (`http.admin_token`) |
/// | --- | --- | --- | --- |
/// | on loopback | any, except from web pages of other hosts | any | local requests with a loopback `Host` |
/// | elsewhere, `allow_unauthenticated` | any | any | none |
/// | elsewhere | none; the start is refused | local requests | none |
///
/// A request is local if its peer's address is a loopback address and no header says that a proxy has forwarded it.
final class RequestAuthorizer: Sendable {
    /// The rules of one configuration, shared by the requests that are judged by it.
    private final class Rules: Sendable {
        let send: BearerTokens
        let metrics: BearerTokens
        let admin: BearerTokens
        let isBoundToLoopback: Bool
        let allowsUnauthenticated: Bool

        init(_ http: HTTPSettings) {
            send = BearerTokens(http.tokens)
            metrics = BearerTokens(http.metricsToken.isEmpty ? [:] : ["metrics_token": http.metricsToken])
            admin = BearerTokens(http.adminToken.isEmpty ? [:] : ["admin_token": http.adminToken])
            isBoundToLoopback = HTTPSettings.isLoopback(http.host)
            allowsUnauthenticated = http.allowUnauthenticated
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

    /// Authorizes a request to send events.
    /// - Returns: the name of its token; `nil` where no tokens are configured.
    func send(_ head: borrowing HTTPRequestHead) throws(Denial) -> String? {
        let rules = current
        guard rules.send.isEmpty else { return try Self.name(rules.send.claim(head)) }
        guard rules.isBoundToLoopback else {
            if rules.allowsUnauthenticated { return nil }
            throw .sendWithoutTokens
        }
        // A browser on this machine would post for any page; it names the page's host.
        if let origin = head.header("Origin"), !Self.isLocal(origin: origin) { throw .foreignOrigin }
        return nil
    }

    /// Authorizes a request to read the metrics.
    func readMetrics(_ head: borrowing HTTPRequestHead) throws(Denial) {
        let rules = current
        guard rules.metrics.isEmpty else {
            _ = try Self.name(rules.metrics.claim(head))
            return
        }
        guard rules.isBoundToLoopback || rules.allowsUnauthenticated || RequestSender(head).isLocal else {
            throw .metricsNotLocal
        }
    }

    /// Authorizes a request to a route under `/admin`.
    /// - Returns: the caller's name: `admin_token`, or `loopback` without a token.
    func administer(_ head: borrowing HTTPRequestHead) throws(Denial) -> String {
        let rules = current
        return try Self.administer(rules, rules.admin.claim(head), RequestSender(head))
    }

    /// The same for a request of which only this is known. `authorization`: the value of that header.
    func administer(authorization: UnsafeRawBufferPointer?, from sender: RequestSender) throws(Denial) -> String {
        let rules = current
        return try Self.administer(rules, authorization.map(rules.admin.claim(authorization:)) ?? .missing, sender)
    }

    private static func administer(
        _ rules: Rules, _ claim: BearerTokens.Claim, _ sender: RequestSender
    ) throws(Denial) -> String {
        if !rules.admin.isEmpty {
            switch claim {
            case .known(let name): return name
            case .unknown: throw .adminTokenUnknown
            case .missing: throw .adminTokenMissing
            }
        }
        guard rules.isBoundToLoopback else { throw .adminNotOnLoopback }
        guard sender.isLocal else { throw .adminNotLocal }
        // DNS rebinding: a web page whose host name resolves to this machine would have the same origin as this server.
        guard sender.host.map({ HTTPSettings.isLoopback(RequestSender.name(ofHost: $0)) }) ?? true else {
            throw .adminHostNotLoopback
        }
        return "loopback"
    }

    private static func name(_ claim: BearerTokens.Claim) throws(Denial) -> String {
        switch claim {
        case .known(let name): return name
        case .unknown: throw .tokenUnknown
        case .missing: throw .tokenMissing
        }
    }

    /// Whether an `Origin` is of this machine: `http://localhost:8000` is, `null` and other hosts are not.
    private static func isLocal(origin: String) -> Bool {
        guard let scheme = origin.firstRange(of: "://") else { return false }
        return HTTPSettings.isLoopback(RequestSender.name(ofHost: String(origin[scheme.upperBound...])))
    }
}

/// Where a request comes from, and which host it was sent to.
struct RequestSender: Sendable {
    /// Numeric address; empty where it is unknown.
    var peer: String
    /// The header `Host`.
    var host: String?
    /// A header says that a proxy has forwarded the request.
    var isForwarded = false

    init(peer: String, host: String?) { (self.peer, self.host) = (peer, host) }

    init(_ head: borrowing HTTPRequestHead) {
        self.init(peer: head.remoteAddress, host: head.header("Host"))
        isForwarded = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"].contains { head.header($0) != nil }
    }

    var isLocal: Bool { HTTPSettings.isLoopback(peer) && !isForwarded }

    /// The host without its port: `[::1]:8000` is `::1`, `localhost:8000` is `localhost`.
    static func name(ofHost host: String) -> String {
        if host.hasPrefix("[") { return String(host.dropFirst().prefix { $0 != "]" }) }
        return host.prefix { $0 != ":" }.lowercased()
    }
}
