// Owns what other threads tell the loop: answers that are ready, and orders to stop.

internal import Synchronization

/// Counters of a server. Written by the loop's thread alone, so that plain loads and stores do.
struct LoopCounters: ~Copyable {
    let connections = Atomic<Int>(0)
    let inFlight = Atomic<Int>(0)
    let requests = Atomic<Int>(0)
    let undelivered = Atomic<Int>(0)
    let evicted = Atomic<Int>(0)
    let slowHeaders = Atomic<Int>(0)
    let slowBodies = Atomic<Int>(0)
    let slowReaders = Atomic<Int>(0)
    let connectionLimitRefusals = Atomic<Int>(0)
}

/// A configuration on its way to the loop.
final class Adoption: Sendable {
    let configuration: HTTPServerConfiguration
    init(_ configuration: HTTPServerConfiguration) { self.configuration = configuration }
}

/// The loop's letter box. It outlives the loop, because exchanges that are answered late still post to it.
final class LoopMailbox: Sendable {
    struct Orders {
        /// Monotonic nanoseconds; `nil`: nobody asked to stop.
        var stopAt: UInt64?
        /// Handed out once.
        var adoption: Adoption?
    }

    private struct Box {
        var ready: [HTTPExchange] = []
        var proceeding: [HTTPExchange] = []
        var orders = Orders()
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    let wake: WakeHandle
    let counters = LoopCounters()
    private let box = Mutex(Box())

    init() throws(HTTPServerError) { wake = try WakeHandle() }

    /// An exchange whose connection is suspended has got its answer. Any thread.
    func post(_ exchange: HTTPExchange) {
        let isFirst = box.withLock { box in !box.isClosed && Self.isFirst(exchange, in: &box.ready) }
        if isFirst { wake.signal() }
    }

    /// A parked exchange may go on. Any thread.
    func postProceeding(_ exchange: HTTPExchange) {
        let isFirst = box.withLock { box in !box.isClosed && Self.isFirst(exchange, in: &box.proceeding) }
        if isFirst { wake.signal() }
    }

    /// Adds an exchange. Only the first one has to wake the loop.
    private static func isFirst(_ exchange: HTTPExchange, in list: inout [HTTPExchange]) -> Bool {
        list.append(exchange)
        return list.count == 1
    }

    /// Swaps the list of ready exchanges for `empty`, so that both keep their memory.
    /// - Returns: the orders, and the parked exchanges that may go on.
    func takeReady(into empty: inout [HTTPExchange]) -> (orders: Orders, proceeding: [HTTPExchange]) {
        box.withLock { box in
            swap(&box.ready, &empty)
            defer { (box.orders.adoption, box.proceeding) = (nil, []) }
            return (box.orders, box.proceeding)
        }
    }

    /// The last one counts. Any thread.
    func orderAdoption(of configuration: HTTPServerConfiguration) {
        box.withLock { $0.orders.adoption = Adoption(configuration) }
        wake.signal()
    }

    /// The earliest deadline wins. Any thread.
    func orderStop(at deadline: UInt64) {
        box.withLock { $0.orders.stopAt = min($0.orders.stopAt ?? .max, deadline) }
        wake.signal()
    }

    /// Waits until the loop has ended.
    func closed() async {
        await withCheckedContinuation { continuation in
            let isClosed = box.withLock { box in
                if !box.isClosed { box.waiters.append(continuation) }
                return box.isClosed
            }
            if isClosed { continuation.resume() }
        }
    }

    /// The loop's last act.
    func close() {
        let (waiters, ready) = box.withLock { box in
            box.isClosed = true
            defer { (box.waiters, box.ready, box.proceeding) = ([], [], []) }
            return (box.waiters, box.ready + box.proceeding)
        }
        // Exchanges that were answered in the last moment are let go here, outside the lock.
        withExtendedLifetime(ready) {}
        for waiter in waiters { waiter.resume() }
    }
}
