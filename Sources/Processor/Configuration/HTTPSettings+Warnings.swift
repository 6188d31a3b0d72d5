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
                warnings.append("http.allow_unauthenticated: everybody who reaches \(host) may send events; set http.tokens")
            }
        }
        if !trustedProxies.isEmpty, (1..<connections).contains(connectionsPerAddress) {
            warnings.append(
                "http.connections_per_address (\(connectionsPerAddress)) holds for a proxy of http.trusted_proxies as for a client; set it "
                    + "to 0, or to what a proxy opens at most")
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
