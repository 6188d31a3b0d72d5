// Owns what of the HTTP side follows a changed configuration: limits of connections, tokens, and the certificate.

import HTTPServer
import Synchronization
import Telemetry

/// The running server with everything around it that can change while it serves.
final class HTTPServerReloader: Sendable {
    let server: HTTPServer
    private let access: DoorAccess
    private let desk: AdminController?
    private let logger: Logger
    private let state: Mutex<(http: HTTPSettings, identity: TLSIdentity?)>

    /// - Parameters:
    ///   - http: what the server was started with.
    ///   - identity: what it shows; `nil`: it speaks plain HTTP.
    init(
        _ server: HTTPServer, http: HTTPSettings, identity: TLSIdentity?, access: DoorAccess, desk: AdminController?,
        logger: Logger
    ) {
        self.server = server
        self.access = access
        self.desk = desk
        self.logger = logger
        state = Mutex((http, identity))
    }

    /// Puts other limits and tokens into force. What takes a restart must be as it was at the start.
    func update(_ http: HTTPSettings) {
        access.update(http)
        desk?.update(AdminAccess(http))
        let identity = state.withLock { state in
            state.http = http
            return state.identity
        }
        adopt(http, identity)
    }

    /// Shows another certificate to whoever connects from now on.
    func update(_ identity: TLSIdentity) {
        let http = state.withLock { state in
            state.identity = identity
            return state.http
        }
        adopt(http, identity)
    }

    private func adopt(_ http: HTTPSettings, _ identity: TLSIdentity?) {
        do throws(HTTPServerError) {
            try server.adopt(http.server(identity: identity))
        } catch {
            logger.error("The HTTP server keeps its limits.", ["error": error.description])
        }
    }

    /// Families about connections.
    func register(_ registry: MetricsRegistry) {
        let figures = registry.sharedCollector { [weak self] in self?.server.statistics }
        figures.family("sluice_http_connections", type: .gauge, help: "Connections that are open.") { sink, statistics in
            if let statistics { sink.sample(statistics.openConnections) }
        }
        figures.family(
            "sluice_http_connections_ended_total", type: .counter,
            help:
                "Connections the server ended: a header or body that came too slowly, a long answer that was read too slowly, or the oldest beyond the limits for a newer one."
        ) { sink, statistics in
            guard let statistics else { return }
            sink.sample(statistics.slowHeaders, ["reason": "header_timeout"])
            sink.sample(statistics.slowBodies, ["reason": "body_timeout"])
            sink.sample(statistics.slowReaders, ["reason": "answer_timeout"])
            sink.sample(statistics.evicted, ["reason": "reserve_full"])
        }
        figures.family(
            "sluice_http_crowded_out_total", type: .counter,
            help: "Requests answered 503 because there were too many connections, of all clients or of one."
        ) { sink, statistics in
            if let statistics { sink.sample(statistics.crowdedOut) }
        }
        registry.collector(
            "sluice_http_certificate_expiry_timestamp_seconds", type: .gauge,
            help: "When the TLS certificate that is shown ends, in seconds since 1970; no series without TLS."
        ) { [weak self] sink in
            if let identity = self?.state.withLock({ $0.identity }) { sink.sample(Int(identity.expires)) }
        }
    }
}

extension HTTPSettings {
    /// What the server keeps of these settings.
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
