// Owns the requests whose connection is suspended: those that wait for their response, and those whose body is not read for now.

/// Exchanges, each of which knows its place. Confined to the loop's thread.
struct ExchangeList: ~Copyable {
    private var list: [Unmanaged<HTTPExchange>] = []

    var isEmpty: Bool { list.isEmpty }

    var all: [HTTPExchange] { list.map { $0.takeUnretainedValue() } }

    mutating func insert(_ exchange: HTTPExchange) {
        exchange.slot = list.count
        list.append(Unmanaged.passUnretained(exchange))
    }

    /// - Returns: whether it was there.
    @discardableResult
    mutating func remove(_ exchange: HTTPExchange) -> Bool {
        guard exchange.slot >= 0 else { return false }
        let last = list.removeLast().takeUnretainedValue()
        if last !== exchange {
            list[exchange.slot] = Unmanaged.passUnretained(last)
            last.slot = exchange.slot
        }
        exchange.slot = -1
        return true
    }
}

/// Requests whose body is not read for now, each with the moment at which it is resumed. Confined to the loop's thread.
struct SuspendedRequests: ~Copyable {
    private var list = ExchangeList()
    /// Not later than the earliest of these moments, in monotonic nanoseconds; `nil`: there are none.
    private(set) var wakeAt: UInt64?

    /// - Parameter moment: monotonic nanoseconds.
    mutating func insert(_ exchange: HTTPExchange, until moment: UInt64) {
        exchange.suspendedUntil = moment
        list.insert(exchange)
        wakeAt = min(wakeAt ?? .max, moment)
    }

    mutating func remove(_ exchange: HTTPExchange) {
        list.remove(exchange)
        if list.isEmpty { wakeAt = nil }
    }

    /// The requests whose moment has come. They stay in the list.
    mutating func due(at now: UInt64) -> [HTTPExchange] {
        guard let wakeAt, wakeAt <= now else { return [] }
        let all = list.all
        self.wakeAt = all.lazy.map(\.suspendedUntil).filter { $0 > now }.min() ?? now
        return all.filter { $0.suspendedUntil <= now }
    }

    var all: [HTTPExchange] { list.all }
}
