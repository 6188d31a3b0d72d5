// Owns the loop's part of connections: opening, closing, TLS certificates, and slow clients.

internal import CMicrohttpd
internal import Synchronization
internal import Telemetry

extension ServerLoop {
    /// - Returns: what libmicrohttpd carries for the connection.
    func connectionOpened(_ connection: OpaquePointer) -> UnsafeMutableRawPointer {
        mailbox.counters.connections.increment()
        let idle = configuration.idleTimeout.components.seconds
        if idle != defaultIdle, sluice_mhd_set_timeout(connection, UInt32(clamping: idle)) != .YES {
            log(.error, "libmicrohttpd refused an idle timeout; the one of the start applies.", "\(idle) s")
        }
        let (context, hasEvicted) = connections.opened(connection, now: now)
        if hasEvicted { mailbox.counters.evicted.increment() }
        return context
    }

    func connectionClosed(_ context: UnsafeMutableRawPointer?) {
        mailbox.counters.connections.increment(by: -1)
        if let context { connections.closed(context) }
    }

    func closeSlowConnections() {
        connections.closeSlow(now: now) { violation in
            switch violation {
            case .header: mailbox.counters.slowHeaders.increment()
            case .body: mailbox.counters.slowBodies.increment()
            case .response: mailbox.counters.slowReaders.increment()
            }
        }
    }
}

extension Atomic<Int> {
    /// Adds without an atomic read-modify-write, because only one thread writes.
    func increment(by step: Int = 1) { store(load(ordering: .relaxed) &+ step, ordering: .relaxed) }
}
