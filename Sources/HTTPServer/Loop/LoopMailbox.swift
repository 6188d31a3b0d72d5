// Owns what other threads send to the loop: responses, resumed readers, a changed configuration, and the stop.

internal import Synchronization

/// Counters of a server. Only the loop's thread writes them, so plain loads and stores suffice.
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

/// A changed configuration. A reference, because the loop copies it out of the mailbox in every iteration.
final class ConfigurationUpdate: Sendable {
    let configuration: HTTPServerConfiguration
    init(_ configuration: HTTPServerConfiguration) { self.configuration = configuration }
}

/// The loop's mailbox. It outlives the loop, because late responses are still posted to it.
final class LoopMailbox: Sendable {
    struct Requests {
        /// The deadline of a requested stop, in monotonic nanoseconds.
        var stopAt: UInt64?
        /// Taken once.
        var update: ConfigurationUpdate?
    }

    private struct Box {
        var answered: [HTTPExchange] = []
        var resuming: [HTTPExchange] = []
        var requests = Requests()
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    let wake: WakeHandle
    let counters = LoopCounters()
    private let box = Mutex(Box())

    init() throws(HTTPServerError) { wake = try WakeHandle() }

    /// An exchange whose connection is suspended has its response. Any thread.
    func postAnswered(_ exchange: HTTPExchange) {
        let isFirst = box.withLock { box in !box.isClosed && Self.isFirst(exchange, in: &box.answered) }
        if isFirst { wake.signal() }
    }

    /// A suspended request is to be read again. Any thread.
    func postResuming(_ exchange: HTTPExchange) {
        let isFirst = box.withLock { box in !box.isClosed && Self.isFirst(exchange, in: &box.resuming) }
        if isFirst { wake.signal() }
    }

    /// Appends an exchange. Only the first one has to wake the loop.
    private static func isFirst(_ exchange: HTTPExchange, in list: inout [HTTPExchange]) -> Bool {
        list.append(exchange)
        return list.count == 1
    }

    /// Takes what was posted.
    /// - Parameter answered: an empty list; swapped with the one of the mailbox, so that both keep their memory.
    func take(answered: inout [HTTPExchange]) -> (requests: Requests, resuming: [HTTPExchange]) {
        box.withLock { box in
            swap(&box.answered, &answered)
            defer { (box.requests.update, box.resuming) = (nil, []) }
            return (box.requests, box.resuming)
        }
    }

    /// The last configuration counts. Any thread.
    func requestUpdate(to configuration: HTTPServerConfiguration) {
        box.withLock { $0.requests.update = ConfigurationUpdate(configuration) }
        wake.signal()
    }

    /// The earliest deadline counts. Any thread.
    func requestStop(at deadline: UInt64) {
        box.withLock { $0.requests.stopAt = min($0.requests.stopAt ?? .max, deadline) }
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

    /// The loop has ended.
    func close() {
        let (waiters, exchanges) = box.withLock { box in
            box.isClosed = true
            defer { (box.waiters, box.answered, box.resuming) = ([], [], []) }
            return (box.waiters, box.answered + box.resuming)
        }
        // Exchanges that were posted last are released here, outside the lock.
        withExtendedLifetime(exchanges) {}
        for waiter in waiters { waiter.resume() }
    }
}
