// Owns the loop's part of connections: opening, closing, TLS certificates, and slow clients.

internal import CMicrohttpd
internal import Telemetry

extension ServerLoop {
    /// - Returns: what libmicrohttpd carries for the connection.
    func connectionOpened(_ connection: OpaquePointer) -> UnsafeMutableRawPointer {
        statistics.openConnections += 1
        let idle = configuration.idleTimeout.components.seconds
        if idle != defaultIdle, sluice_mhd_set_timeout(connection, UInt32(clamping: idle)) != .YES {
            log(.error, "libmicrohttpd refused an idle timeout; the one of the start applies.", "\(idle) s")
        }
        return connections.opened(connection, now: now, idle: configuration.idleNanoseconds)
    }

    func connectionClosed(_ context: UnsafeMutableRawPointer?) {
        statistics.openConnections -= 1
        if let context { connections.closed(context) }
    }

    func closeSlowConnections() {
        for (record, violation) in connections.slow(now: now, configuration) {
            switch violation {
            case .header: statistics.slowHeaders += 1
            case .body: statistics.slowBodies += 1
            case .response: statistics.slowReaders += 1
            case .refusal: break
            }
            // A header that is too slow gets no response: the client may not have sent a request, and would take it for that to its next one.
            if violation == .body, let exchange = record.exchange?.takeUnretainedValue() {
                _ = respondEarly(response(to: .bodyTooSlow(isBatch: exchange.intake.isStream)), to: exchange)
            }
            ConnectionTable.close(record)
        }
    }
}
