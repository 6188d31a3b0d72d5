// Owns the exchanges whose body waits because its reader said "not now".

/// Parked exchanges, each with the moment at which it is woken at the latest. The loop's thread only.
struct SuspendedRequests: ~Copyable {
    private var list: [Unmanaged<HTTPExchange>] = []
    /// Not later than the earliest moment; `nil`: nobody is parked.
    private(set) var wakeAt: UInt64?

    /// - Parameter moment: monotonic nanoseconds.
    mutating func park(_ exchange: HTTPExchange, until moment: UInt64) {
        exchange.parkedUntil = moment
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
        exchange.parkedUntil = nil
        if list.isEmpty { wakeAt = nil }
    }

    /// Those whose moment has come; they stay parked.
    mutating func due(at now: UInt64) -> [HTTPExchange] {
        guard let wakeAt, wakeAt <= now else { return [] }
        var due: [HTTPExchange] = []
        var next = UInt64.max
        for exchange in list.lazy.map({ $0.takeUnretainedValue() }) {
            let moment = exchange.parkedUntil ?? 0
            if moment <= now { due.append(exchange) } else { next = min(next, moment) }
        }
        self.wakeAt = next == .max ? now : next
        return due
    }

    var all: [HTTPExchange] { list.map { $0.takeUnretainedValue() } }
}
