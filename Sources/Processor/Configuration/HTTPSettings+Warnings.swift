// Words what settings of the HTTP server leave open, so that nothing is open by accident.

import Telemetry

extension HTTPSettings {
    /// What is open to others than its operator may think, a sentence each with the remedy.
    var warnings: [String] {
        var warnings: [String] = []
        if !Self.isLoopback(host) {
            if tlsCertificate.isEmpty {
                warnings.append(
                    "the server at \(host) is reachable from other machines without TLS: tokens and events are not encrypted; set "
                        + "http.tls_certificate and http.tls_key, or let a proxy terminate TLS")
            }
            if tokens.isEmpty {
                warnings.append(
                    "http.allow_unauthenticated: every client that reaches \(host) may send events; set http.tokens")
            }
            if allowUnauthenticated, metricsToken.isEmpty {
                warnings.append(
                    "http.allow_unauthenticated: every client that reaches \(host) may read /metrics; set http.metrics_token")
            }
        }
        if trustedProxies > 0, (1..<connections).contains(connectionsPerAddress) {
            warnings.append(
                "http.trusted_proxies is \(trustedProxies), so all connections come from the addresses of proxies, and each proxy may have "
                    + "http.connections_per_address (\(connectionsPerAddress)) of them; set that to 0")
        }
        return warnings
    }
}

extension Logger {
    /// Writes what the HTTP server's settings leave open.
    func warn(of settings: HTTPSettings) {
        for warning in settings.warnings { self.warning("A setting of the HTTP server needs attention.", ["message": warning]) }
    }
}
