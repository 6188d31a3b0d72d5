// Decides what becomes of levels when the limits on requests are changed while they are in force.

extension RateLimitMachine {
    /// The limits were changed. A policy of the same name, key and unit goes on with its levels, whatever else has changed: nothing is ever
    /// refilled, also where a bucket becomes a window (then what is used is carried over as a share). Any other policy begins anew.
    ///
    /// Every client that has used something is carried over; where they are more than `maxKeys`, those that may go do so as new ones
    /// come. Takes two to four microseconds a client.
    public mutating func update(_ limits: RateLimits, now: UInt64) {
        guard limits != self.limits else { return }
        let before = self.limits.policies
        counts = limits.policies.map { policy in
            before.firstIndex { $0.name == policy.name }.map { counts[$0] } ?? RateLimitCounts()
        }
        if before != limits.policies { policies = RateLimitPolicies(limits.policies) }
        self.limits = limits

        var global = QuotaStorage(limits.policies, key: .global, count: 1)
        global.continued(0, from: self.global, 0, global.origins(in: self.global), now: now)
        self.global = global
        var routes = QuotaStorage(limits.policies, key: .route, count: routeCount)
        let origins = routes.origins(in: self.routes)
        for route in 0..<routeCount { routes.continued(route, from: self.routes, route, origins, now: now) }
        self.routes = routes
        changeClients(now)
    }

    private mutating func changeClients(_ now: UInt64) {
        var kept: [Int] = []
        // In the order they lie in memory: with a million clients most of the time is spent waiting for it.
        for row in table.rows.sorted() where clients.freshAsked(row, now: now) > 0 { kept.append(row) }
        let capacity = limits.hasClientPolicy ? Swift.max(limits.maxKeys, kept.count) : 0
        var fresh = QuotaStorage(limits.policies, key: .client, count: capacity + 1)
        let origins = fresh.origins(in: clients)
        fresh.continued(capacity, from: clients, table.capacity, origins, now: now)
        var known = QuotaKeyTable(capacity: capacity, secret: secret)
        if capacity > 0 {
            for row in kept {
                let visit = table.visit(row)
                let new = known.inserted(visit.key, now: now)
                known.continued(new, as: visit)
                fresh.continued(new, from: clients, row, origins, now: now)
            }
        }
        clients = fresh
        table = known
        queue = EvictionQueue()
        for row in table.rows.sorted() { queue.pushed(row, at: leavingAsked(row, now)) }
    }
}
