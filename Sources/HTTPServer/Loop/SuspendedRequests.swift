// Owns the requests whose body is not read for now.

/// Suspended requests, each with the moment at which it is resumed. Confined to the loop's thread.
struct SuspendedRequests: ~Copyable {
    private var list: [Unmanaged<HTTPExchange>] = []
    /// Not later than the earliest of these moments, in monotonic nanoseconds; `nil`: there are none.
    private(set) var wakeAt: UInt64?

    /// - Parameter moment: monotonic nanoseconds.
    mutating func insert(_ exchange: HTTPExchange, until moment: UInt64) {
        exchange.suspendedUntil = moment
        exchange.slot = list.count
        list.append(Unmanaged.passUnretained(exchange))
        wakeAt = min(wakeAt ?? .max, moment)
    }

    mutating func remove(_ exchange: HTTPExchange) {
        let last = list.removeLast().takeUnretainedValue()
        if last !== exchange {
            list[exchange.slot] = Unmanaged.passUnretained(last)
            last.slot = exchange.slot
        }
        exchange.slot = -1
        exchange.suspendedUntil = nil
        if list.isEmpty { wakeAt = nil }
    }

    /// The requests whose moment has come. They stay in the list.
    mutating func due(at now: UInt64) -> [HTTPExchange] {
        guard let wakeAt, wakeAt <= now else { return [] }
        var due: [HTTPExchange] = []
        var next = UInt64.max
        for exchange in list.lazy.map({ $0.takeUnretainedValue() }) {
            let moment = exchange.suspendedUntil ?? 0
            if moment <= now { due.append(exchange) } else { next = min(next, moment) }
        }
        self.wakeAt = next == .max ? now : next
        return due
    }

    var all: [HTTPExchange] { list.map { $0.takeUnretainedValue() } }
}
