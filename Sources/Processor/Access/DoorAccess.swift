// Decides who may send events and who may read the metrics.

import Admission
import HTTPServer
import Synchronization

/// The keys of `POST /send` and `GET /metrics`. They change while the process runs.
///
/// | listener | `/send` without `http.tokens` | `/metrics` without `http.metrics_token` |
/// | --- | --- | --- |
/// | on loopback | everybody but pages from elsewhere | everybody |
/// | elsewhere, `allow_unauthenticated` | everybody | everybody |
/// | elsewhere | nobody; the start is refused | this machine |
final class DoorAccess: Sendable {
    /// What becomes of a request.
    enum Verdict: Sendable {
        /// It is taken. `client`: the name of its token; `nil` where nobody is asked for one.
        case admitted(client: String?)
        case refused(HTTPResponse)
    }

    /// One state of the keys, shared by the requests that are judged by it.
    private final class Keys: Sendable {
        let senders: TokenTable
        let readers: TokenTable
        let isBoundToLoopback: Bool
        let allowsUnauthenticated: Bool

        init(_ http: HTTPSettings) {
            senders = TokenTable(http.tokens)
            readers = TokenTable(http.metricsToken.isEmpty ? [:] : ["metrics_token": http.metricsToken])
            isBoundToLoopback = HTTPSettings.isLoopback(http.host)
            allowsUnauthenticated = http.allowUnauthenticated
        }
    }

    private let keys: Mutex<Keys>
    private let nobody = DoorAccess.unauthorized("This route wants the header Authorization: Bearer, with a token.", "")
    private let unknown = DoorAccess.unauthorized("Nobody has this bearer token.", #", error="invalid_token""#)
    private let closed = DoorAccess.forbidden(
        "The server listens on an address other than loopback and has no tokens: set http.tokens, or http.allow_unauthenticated.")
    private let elsewhere = DoorAccess.forbidden(
        "Without tokens no web page may send events. Set http.tokens and send one as a bearer token.")
    private let afar = DoorAccess.forbidden(
        "Without a token the metrics are shown to the server's own machine only. Set http.metrics_token (a file: "
            + "SLUICE_HTTP_METRICS_TOKEN_FILE) and send it as a bearer token.")

    init(_ http: HTTPSettings) { keys = Mutex(Keys(http)) }

    /// Judges the next request by other keys.
    func update(_ http: HTTPSettings) {
        let fresh = Keys(http)
        keys.withLock { $0 = fresh }
    }

    /// Whether a request may send events, and as whom.
    func send(_ head: borrowing HTTPRequestHead) -> Verdict {
        let keys = self.keys.withLock { $0 }
        guard keys.senders.isEmpty else {
            let claim = keys.senders.claim(head)
            return refusal(of: claim).map(Verdict.refused) ?? .admitted(client: claim.name)
        }
        guard keys.isBoundToLoopback else { return keys.allowsUnauthenticated ? .admitted(client: nil) : .refused(closed) }
        // A browser names the page that makes it ask; it would post for any page, to this machine too.
        if let origin = head.header("Origin"), !Self.isLocal(origin: origin) { return .refused(elsewhere) }
        return .admitted(client: nil)
    }

    /// The name of the token a request brings for `POST /send`; `nil` where it brings none, or a wrong one.
    func client(of head: borrowing HTTPRequestHead) -> String? {
        let keys = self.keys.withLock { $0 }
        return keys.senders.isEmpty ? nil : keys.senders.claim(head).name
    }

    /// Why a request may not read the metrics; `nil`: it may.
    func refusalOfMetrics(_ head: borrowing HTTPRequestHead) -> HTTPResponse? {
        let keys = self.keys.withLock { $0 }
        guard keys.readers.isEmpty else { return refusal(of: keys.readers.claim(head)) }
        if keys.isBoundToLoopback || keys.allowsUnauthenticated { return nil }
        let sender = AdminAccess.Sender(head)
        return HTTPSettings.isLoopback(sender.peer) && !sender.isForwarded ? nil : afar
    }

    private func refusal(of claim: TokenTable.Claim) -> HTTPResponse? {
        switch claim {
        case .known: nil
        case .unknown: unknown
        case .nobody: nobody
        }
    }

    /// `http://localhost:8000` is this machine's own; `null` is a page without one.
    static func isLocal(origin: String) -> Bool {
        guard let scheme = origin.firstRange(of: "://") else { return false }
        return HTTPSettings.isLoopback(AdminAccess.name(ofHost: String(origin[scheme.upperBound...])))
    }

    private static func unauthorized(_ detail: String, _ parameters: String) -> HTTPResponse {
        HTTPResponse.problem(
            status: 401, title: "Unauthorized", detail: detail,
            headers: [("WWW-Authenticate", #"Bearer realm="sluice""# + parameters)]
        ).prepared()
    }

    private static func forbidden(_ detail: String) -> HTTPResponse {
        HTTPResponse.problem(status: 403, title: "Forbidden", detail: detail).prepared()
    }
}
