// Decides which levels are carried over when rate limits change.

extension RateLimitMachine {
    /// Puts other limits into force. A policy of the same name, key and unit keeps its levels: nothing is refilled, also where a bucket
    /// becomes a window (then the used share is carried over). Any other policy starts with full quotas.
    ///
    /// Every client that has used something is carried over; where they are more than `maxKeys`, rows are evicted as new clients come. Takes
    /// two to four microseconds a client.
    public mutating func update(_ limits: RateLimits, now: UInt64) {
        guard limits != self.limits else { return }
        let before = self.limits.policies
        counts = limits.policies.map { policy in
            before.firstIndex { $0.name == policy.name }.map { counts[$0] } ?? RateLimitCounts()
        }
        self.limits = limits

        var common = QuotaStorage(limits.policies, isByClient: false, count: 1)
        common.carryOver(0, from: self.common, 0, common.origins(in: self.common), now: now)
        self.common = common
        updateClients(now)
    }

    private mutating func updateClients(_ now: UInt64) {
        var kept: [Int] = []
        // In the order of memory: with a million clients most of the time is spent on cache misses.
        for row in table.rows.sorted() where clients.unusedDelay(row, at: now) > 0 { kept.append(row) }
        let capacity = limits.hasClientPolicy ? Swift.max(limits.maxKeys, kept.count) : 0
        var fresh = QuotaStorage(limits.policies, isByClient: true, count: capacity + 1)
        let origins = fresh.origins(in: clients)
        fresh.carryOver(capacity, from: clients, table.capacity, origins, now: now)
        var known = QuotaKeyTable(capacity: capacity, secret: secret)
        if capacity > 0 {
            for row in kept {
                let client = table[row]
                let new = known.insert(client.key, now: now)
                known[new] = client
                fresh.carryOver(new, from: clients, row, origins, now: now)
            }
        }
        clients = fresh
        table = known
        queue = EvictionQueue()
        for row in table.rows.sorted() { queue.push(row, at: evictionInstant(row, now)) }
    }
}
