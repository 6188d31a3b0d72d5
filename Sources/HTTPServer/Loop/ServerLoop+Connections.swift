// Owns the loop's part of connections: opening, closing, TLS certificates, and slow clients.

internal import CMicrohttpd
internal import Synchronization
internal import Telemetry

extension ServerLoop {
    /// - Returns: what libmicrohttpd carries for the connection.
    func connectionOpened(_ connection: OpaquePointer) -> UnsafeMutableRawPointer {
        mailbox.statistics.withLock { $0.openConnections += 1 }
        let idle = configuration.idleTimeout.components.seconds
        if idle != defaultIdle, sluice_mhd_set_timeout(connection, UInt32(clamping: idle)) != .YES {
            log(.error, "libmicrohttpd refused an idle timeout; the one of the start applies.", "\(idle) s")
        }
        let (context, hasEvicted) = connections.opened(connection, now: now)
        if hasEvicted { mailbox.statistics.withLock { $0.evicted += 1 } }
        return context
    }

    func connectionClosed(_ context: UnsafeMutableRawPointer?) {
        mailbox.statistics.withLock { $0.openConnections -= 1 }
        if let context { connections.closed(context) }
    }

    func closeSlowConnections() {
        for (record, violation) in connections.slow(now: now) {
            mailbox.statistics.withLock { statistics in
                switch violation {
                case .header: statistics.slowHeaders += 1
                case .body: statistics.slowBodies += 1
                case .response: statistics.slowReaders += 1
                case .refusal: break
                }
            }
            // A header that is too slow gets no response: the client may not have sent a request, and would take it for that to its next one.
            if violation == .body, let exchange = record.exchange?.takeUnretainedValue() {
                _ = respondEarly(exchange.intake.isStream ? refusals.batchTooSlow : refusals.bodyTooSlow, to: exchange)
            }
            ConnectionTable.close(record)
        }
    }
}
