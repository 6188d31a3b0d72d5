// Decides whether a request is within all rate limits, and charges it to all of them or to none.

/// The rate limits: quotas for all requests, and quotas for each client.
///
/// All policies that a cost applies to are checked before any is charged. A policy in shadow mode refuses nothing. It is charged only
/// with what it would have admitted, so its counts show what it would do in force.
///
/// Each client has a row of quotas, up to `maxKeys` rows. A row is evicted for another client only when no row is free, and
///
/// - it is unused: its buckets are full and its windows empty; or
/// - the client sent nothing for `keyIdle` and is not limited: it would be admitted now, and any wait it was told is over.
///
/// So a client cannot escape a limit by a flood of other keys. The second rule forgets what an idle client has used. Where `keyIdle` is at
/// least the longest window and the longest filling time of a bucket, the first rule always applies earlier, and every limit is exact.
/// Clients without a row share one until a row is free. Rows are checked in turn, some for each new client, so a row that may be evicted is
/// found after at most a sixteenth as many new clients as there are rows.
///
/// When limits change, each row is carried over to the new ones as it was at that moment, but later: when its client next asks, or by
/// ``carryOver(most:)``.
struct RateLimitMachine: ~Copyable {
    /// Most rows that are checked for eviction for one new client; after that it gets the shared row.
    private static let mostChecks = 16

    /// Rows under the limits before a change.
    private struct Change {
        let rows: QuotaTable
        let origins: [QuotaLayout.Column?]
        let instant: UInt64
    }

    /// The limits in force.
    private(set) var limits: RateLimits
    /// Counts of decisions, by policy.
    private(set) var counts: [RateLimitCounts]
    /// Pieces that were decided by the shared row, refused ones included.
    private(set) var overflowed = 0
    /// Of the policies that are not by client, all in the shared row.
    private var common: QuotaTable
    private(set) var clients: QuotaTable
    private var change: Change?

    /// Limits with full quotas.
    init(_ limits: RateLimits) {
        self.limits = limits
        counts = limits.policies.map { _ in RateLimitCounts() }
        common = QuotaTable(QuotaLayout(limits.policies, isByClient: false), capacity: 0)
        clients = QuotaTable(QuotaLayout(limits.policies, isByClient: true), capacity: limits.maxKeys)
    }

    /// Clients with a row of their own.
    var keyCount: Int { clients.count + waitingRows }

    /// Rows that are not carried over yet to changed limits.
    var waitingRows: Int { change?.rows.count ?? 0 }

    /// Bytes of memory for a client.
    var bytesPerKey: Int { clients.bytesPerKey(limits.maxKeys) }

    // MARK: Decisions

    /// A request, or a piece of one, came in.
    /// - Parameters: as of ``RateLimiter/admit(_:_:expecting:alreadyCharged:lost:)``.
    mutating func requested(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none,
        alreadyCharged: RateLimitCost = .none, lost: Int = 0, now: UInt64
    ) -> RateLimitDecision {
        let row = row(of: client, now)
        let whole = expected == .none ? cost : cost + expected
        var decision = check(row, QuotaTable.shared, whole, now)
        guard decision.verdict == .admitted else {
            if decision.verdict == .refused, alreadyCharged != .none || lost > 0 {
                waitForAll(&decision, row, whole + alreadyCharged, lost, now)
            }
            complete(&decision, row, now)
            return decision
        }
        pass(client, row, cost, decision.shadowed, pieces: 1, now)
        return decision
    }

    /// Several pieces of a request came in together.
    /// - Parameter cost: of all pieces together.
    /// - Returns: whether all policies, those in shadow mode included, admit all of them; then they were charged. If not, nothing was charged,
    ///   counted or stored, and each piece has to be decided by itself.
    mutating func requestedTogether(_ client: RateLimitKey, _ cost: RateLimitCost, pieces: Int, now: UInt64) -> Bool {
        let row = row(of: client, now)
        let decision = check(row, QuotaTable.shared, cost, now)
        guard decision.verdict == .admitted, decision.shadowed == 0 else { return false }
        pass(client, row, cost, 0, pieces: pieces, now)
        return true
    }

    /// Bytes of a client came in that nothing has been charged for: of no event, or of a refused one. They are charged without a decision,
    /// also where that leaves a debt.
    mutating func used(_ client: RateLimitKey, bytes: Int, now: UInt64) {
        guard bytes > 0, limits.policies.contains(where: { $0.unit == .bytes }) else { return }
        let row = chargeable(client, row(of: client, now), now)
        for column in common.layout.columns where column.unit == .bytes {
            QuotaLayout.spend(common[QuotaTable.shared], column, bytes, now: now)
        }
        for column in clients.layout.columns where column.unit == .bytes {
            QuotaLayout.spend(clients[row], column, bytes, now: now)
        }
    }

    /// The row of a client's quotas. ``QuotaTable/fresh``: a new client, for which there is a free row.
    private mutating func row(of client: RateLimitKey, _ now: UInt64) -> Int {
        guard !clients.layout.columns.isEmpty else { return QuotaTable.fresh }
        if let row = clients.row(of: client) { return row }
        if let change {
            if let old = change.rows.row(of: client), let row = carryOver(old, change) { return row }
            _ = carryOver(most: Self.mostChecks)
        }
        // Where a row is free, up to two unused rows are evicted all the same, so that the table shrinks after a flood.
        clients.evict(checks: keyCount < limits.maxKeys ? 2 : Self.mostChecks) { mayEvict($0, now) }
        return keyCount < limits.maxKeys ? QuotaTable.fresh : QuotaTable.shared
    }

    /// The row to charge, and that its client was seen.
    private mutating func chargeable(_ client: RateLimitKey, _ row: Int, _ now: UInt64) -> Int {
        guard !clients.layout.columns.isEmpty, row != QuotaTable.shared else { return row }
        let keptUntil = now.addingSaturated(limits.keyIdle)
        if row == QuotaTable.fresh { return clients.insert(QuotaTable.Client(key: client, keptUntil: keptUntil)) }
        let head = clients.client(row)
        head.pointee.keptUntil = Swift.max(head.pointee.keptUntil, keptUntil)
        return row
    }

    /// Charges an admitted cost, except to policies in shadow mode that would have refused it.
    private mutating func pass(
        _ client: RateLimitKey, _ row: Int, _ cost: RateLimitCost, _ shadowed: UInt32, pieces: Int, _ now: UInt64
    ) {
        let row = chargeable(client, row, now)
        if row == QuotaTable.shared { overflowed += pieces }
        charge(common, QuotaTable.shared, cost, shadowed, pieces, now)
        charge(clients, row, cost, shadowed, pieces, now)
    }

    private mutating func charge(
        _ table: QuotaTable, _ row: Int, _ cost: RateLimitCost, _ shadowed: UInt32, _ pieces: Int, _ now: UInt64
    ) {
        for column in table.layout.columns {
            let amount = cost[column.unit]
            guard amount > 0 else { continue }
            guard shadowed >> column.policy & 1 == 0 else {
                counts[column.policy].shadowRefused += 1
                continue
            }
            QuotaLayout.spend(table[row], column, amount, now: now)
            counts[column.policy].allowed += pieces
        }
    }

    private func check(_ row: Int, _ shared: Int, _ cost: RateLimitCost, _ now: UInt64) -> RateLimitDecision {
        var decision = RateLimitDecision()
        Self.check(common, shared, cost, now, &decision)
        Self.check(clients, row, cost, now, &decision)
        return decision
    }

    private static func check(
        _ table: QuotaTable, _ row: Int, _ cost: RateLimitCost, _ now: UInt64, _ decision: inout RateLimitDecision
    ) {
        for column in table.layout.columns {
            let amount = cost[column.unit]
            guard amount > 0 else { continue }
            let bit = UInt32(1) << column.policy
            let isTooLarge = amount > column.capacity
            let wait = isTooLarge ? .max : QuotaLayout.retryDelay(table[row], column, for: amount, at: now)
            guard wait > 0 else { continue }
            if column.isShadow {
                decision.shadowed |= bit
            } else if isTooLarge {
                // Only such policies are named then.
                decision.violated = decision.verdict == .tooLarge ? decision.violated | bit : bit
                decision.verdict = .tooLarge
            } else {
                if decision.verdict != .tooLarge { (decision.verdict, decision.violated) = (.refused, decision.violated | bit) }
                if wait > decision.wait { (decision.wait, decision.policy) = (wait, column.policy) }
            }
        }
    }

    /// Extends a refusal's wait until the quotas suffice for the repeated request, after `lost` bytes were charged.
    private func waitForAll(
        _ decision: inout RateLimitDecision, _ row: Int, _ cost: RateLimitCost, _ lost: Int, _ now: UInt64
    ) {
        for (table, row) in [(common, QuotaTable.shared), (clients, row)] {
            table.copyToScratch(row)
            for column in table.layout.columns where column.unit == .bytes {
                QuotaLayout.spend(table[QuotaTable.scratch], column, lost, now: now)
            }
        }
        let whole = check(QuotaTable.scratch, QuotaTable.scratch, cost, now)
        if whole.wait > decision.wait { (decision.wait, decision.policy) = (whole.wait, whole.policy) }
    }

    /// Completes and counts a refusal.
    private mutating func complete(_ decision: inout RateLimitDecision, _ row: Int, _ now: UInt64) {
        // Waiting is of no use.
        if decision.verdict == .tooLarge { (decision.wait, decision.policy) = (0, decision.violated.trailingZeroBitCount) }
        if row >= QuotaTable.first {
            // The client keeps its row for its wait, also where only a policy of all clients refused it.
            let head = clients.client(row)
            head.pointee.keptUntil = Swift.max(
                head.pointee.keptUntil, now.addingSaturated(Swift.max(limits.keyIdle, decision.wait)))
        } else if row == QuotaTable.shared, !clients.layout.columns.isEmpty {
            overflowed += 1
        }
        for (table, row) in [(common, QuotaTable.shared), (clients, row)] {
            for column in table.layout.columns where column.policy == decision.policy {
                decision.remaining = QuotaLayout.availableTokens(table[row], column, at: now)
            }
        }
        for position in counts.indices where decision.violated >> position & 1 == 1 {
            if decision.verdict == .tooLarge { counts[position].tooLarge += 1 } else { counts[position].refused += 1 }
        }
        for position in counts.indices where decision.shadowed >> position & 1 == 1 { counts[position].shadowRefused += 1 }
    }

    /// Whether a client's row may be evicted at `now`; a row that has used something only where no row is free.
    func mayEvict(_ row: Int, _ now: UInt64) -> Bool {
        if clients.layout.isUnused(clients[row], at: now) { return true }
        return keyCount >= limits.maxKeys && clients.client(row).pointee.keptUntil <= now
            && !clients.layout.isLimited(clients[row], at: now)
    }

    // MARK: Changed limits

    /// Puts other limits into force. A policy of the same name, key and unit keeps its levels: nothing is refilled, also where a bucket
    /// becomes a window (then the used share is carried over). Any other policy starts with full quotas.
    ///
    /// Every client that has used something is carried over, by ``carryOver(most:)``; where they are more than `maxKeys`, rows are evicted
    /// as new clients come. This itself takes no time for each client, unless a change before is not carried over yet.
    mutating func update(_ limits: RateLimits, now: UInt64) {
        guard limits != self.limits else { return }
        while carryOver(most: .max) {}
        let before = self.limits.policies
        counts = limits.policies.map { policy in
            before.firstIndex { $0.name == policy.name }.map { counts[$0] } ?? RateLimitCounts()
        }
        self.limits = limits
        common = Self.table(common, limits.policies, isByClient: false, capacity: 0, now).table
        let rows = clients
        let (table, origins) = Self.table(
            rows, limits.policies, isByClient: true, capacity: Swift.max(limits.maxKeys, rows.count), now)
        clients = table
        if !table.layout.columns.isEmpty, rows.count > 0 { change = Change(rows: rows, origins: origins, instant: now) }
    }

    /// A table for other policies with the shared row of `old`, and where each of its columns was.
    private static func table(
        _ old: QuotaTable, _ policies: [RateLimitPolicy], isByClient: Bool, capacity: Int, _ now: UInt64
    ) -> (table: QuotaTable, origins: [QuotaLayout.Column?]) {
        let table = QuotaTable(QuotaLayout(policies, isByClient: isByClient), capacity: capacity)
        let origins = table.layout.origins(in: old.layout)
        table.layout.carryOver(old[QuotaTable.shared], origins, to: table[QuotaTable.shared], at: now)
        return (table, origins)
    }

    /// Carries over rows from before the last change.
    /// - Parameter most: rows to carry over now.
    /// - Returns: whether there are more.
    mutating func carryOver(most: Int) -> Bool {
        guard let change else { return false }
        for _ in 0..<Swift.min(most, change.rows.count) { _ = carryOver(change.rows.lastClient, change) }
        if change.rows.count == 0 { self.change = nil }
        return self.change != nil
    }

    /// - Returns: the new row; `nil`: the client had used nothing, and is as a new one.
    private func carryOver(_ old: Int, _ change: Change) -> Int? {
        defer { change.rows.remove(old) }
        guard !change.rows.layout.isUnused(change.rows[old], at: change.instant) else { return nil }
        let row = clients.insert(change.rows.client(old).pointee)
        clients.layout.carryOver(change.rows[old], change.origins, to: clients[row], at: change.instant)
        return row
    }
}
