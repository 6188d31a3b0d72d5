// Applies a changed configuration to the running HTTP server: limits of connections, tokens, and the certificate.

import HTTPServer
import Synchronization
import Telemetry

/// The running server and what of it can change while it serves.
final class HTTPServerReloader: Sendable {
    let server: HTTPServer
    private let authorizer: RequestAuthorizer
    private let logger: Logger
    private let state: Mutex<(http: HTTPSettings, identity: TLSIdentity?)>

    /// - Parameters:
    ///   - http: the settings the server was started with.
    ///   - identity: its certificate; `nil`: it speaks plain HTTP.
    init(_ server: HTTPServer, http: HTTPSettings, identity: TLSIdentity?, authorizer: RequestAuthorizer, logger: Logger) {
        self.server = server
        self.authorizer = authorizer
        self.logger = logger
        state = Mutex((http, identity))
    }

    /// Applies other limits and tokens. Settings that need a restart must have the values of the start.
    func update(_ http: HTTPSettings) {
        authorizer.update(http)
        adopt { $0.http = http }
    }

    /// Uses another certificate for connections from now on.
    func update(_ identity: TLSIdentity) { adopt { $0.identity = identity } }

    private func adopt(_ change: (inout (http: HTTPSettings, identity: TLSIdentity?)) -> Void) {
        let (http, identity) = state.withLock { state in
            change(&state)
            return state
        }
        do throws(HTTPServerError) {
            try server.update(http.server(identity: identity))
        } catch {
            logger.error("HTTP settings not applied; the server keeps those it has.", ["message": error.description])
        }
    }

    /// Registers the metrics of connections and of the certificate.
    func register(_ registry: MetricsRegistry) {
        let statistics = registry.sharedCollector { [weak self] in self?.server.statistics }
        statistics.family("sluice_http_connections", type: .gauge, help: "Open connections.") { sink, statistics in
            if let statistics { sink.sample(statistics.openConnections) }
        }
        statistics.family(
            "sluice_http_requests_in_flight", type: .gauge,
            help: "Requests whose header has arrived and whose response is not sent yet."
        ) { sink, statistics in
            if let statistics { sink.sample(statistics.requestsInFlight) }
        }
        statistics.family(
            "sluice_http_connections_ended_total", type: .counter,
            help:
                "Connections closed by the server: a header or body arrived too slowly, a long response was read too slowly, or a newer connection needed the reserved slot."
        ) { sink, statistics in
            guard let statistics else { return }
            sink.sample(statistics.slowHeaders, ["reason": "header_timeout"])
            sink.sample(statistics.slowBodies, ["reason": "body_timeout"])
            sink.sample(statistics.slowReaders, ["reason": "answer_timeout"])
            sink.sample(statistics.evicted, ["reason": "reserve_full"])
        }
        statistics.family(
            "sluice_http_crowded_out_total", type: .counter,
            help: "Requests answered 503 because too many connections were open, in total or from one client."
        ) { sink, statistics in
            if let statistics { sink.sample(statistics.connectionLimitRefusals) }
        }
        registry.collector(
            "sluice_http_certificate_expiry_timestamp_seconds", type: .gauge,
            help: "When the TLS certificate in use expires, in seconds since 1970; no series without TLS."
        ) { [weak self] sink in
            if let identity = self?.state.withLock({ $0.identity }) { sink.sample(Int(identity.expires)) }
        }
    }
}

extension HTTPSettings {
    /// The configuration of the HTTP server for these settings.
    func server(identity: TLSIdentity?) -> HTTPServerConfiguration {
        var server = HTTPServerConfiguration(host: host, port: UInt16(port))
        server.connectionLimit = connections
        server.connectionsPerAddress = connectionsPerAddress
        server.idleTimeout = idleTimeout
        server.headerTimeout = headerTimeout
        server.bodyTimeout = bodyTimeout
        server.bodyRate = bodyRate
        server.poolBytes = maxHeaderBytes
        server.maxBodyBytes = maxEventBytes
        server.identity = identity
        return server
    }
}
