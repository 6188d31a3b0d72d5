// Decides whether a request may pass all limits, and charges it to all of them or to none.

/// The limits on requests: quotas of everybody together, of each route and of each client.
///
/// All policies that a cost touches are asked before any is charged. A policy in shadow mode refuses nobody; it is charged only with what
/// it would have let pass, so that its counts say what it would do in force.
///
/// Clients have rows of their own, at most `maxKeys`. A row is given to another client only when there is no other, and
///
/// - it is as one that has just begun: its buckets are full and its windows empty; or
/// - it was not heard of for `keyIdle`, and is not limited: it would be let through now, and any wait it was told is over.
///
/// So nobody gets rid of a limit by making others come. The second rule forgets what an idle client has used: where `keyIdle` is no
/// shorter than the longest window and the slowest bucket's filling, it never applies before the first, and every cap is exact.
/// Clients that find no row share one, until there is one for them.
public struct RateLimitMachine: ~Copyable {
    /// Most rows that are looked at for one new client. Whoever would need more shares the common row for now.
    private static let mostLooks = 64

    /// The limits in force.
    public internal(set) var limits: RateLimits
    /// The policies among them.
    public internal(set) var policies: RateLimitPolicies
    /// What each policy has decided so far, by position.
    public internal(set) var counts: [RateLimitCounts]
    /// Pieces that asked the row that new clients share, refused ones included.
    public private(set) var overflowed = 0
    let routeCount: Int
    let secret: RateLimitKey
    var global: QuotaStorage
    var routes: QuotaStorage
    /// A row for each client, and one behind them that is shared.
    var clients: QuotaStorage
    var table: QuotaKeyTable
    var queue = EvictionQueue()

    /// Limits that nothing has been charged to, at the monotonic instant `now`, nanoseconds.
    /// - Parameters:
    ///   - routes: how many there are; requests name one by its number.
    ///   - secret: random bits: where a client's row lies must not be for clients to choose.
    public init(_ limits: RateLimits, routes: Int, secret: RateLimitKey, now: UInt64) {
        self.limits = limits
        self.secret = secret
        routeCount = Swift.max(1, routes)
        policies = RateLimitPolicies(limits.policies)
        counts = limits.policies.map { _ in RateLimitCounts() }
        global = QuotaStorage(limits.policies, key: .global, count: 1)
        self.routes = QuotaStorage(limits.policies, key: .route, count: routeCount)
        let capacity = limits.hasClientPolicy ? limits.maxKeys : 0
        clients = QuotaStorage(limits.policies, key: .client, count: capacity + 1)
        table = QuotaKeyTable(capacity: capacity, secret: secret)
        global.began(0, now: now)
        for route in 0..<routeCount { self.routes.began(route, now: now) }
        clients.began(capacity, now: now)
    }

    /// Clients that are known one by one now.
    public var keyCount: Int { table.count }

    /// Bytes a client takes.
    public var bytesPerKey: Int { clients.stride + table.bytesPerKey + MemoryLayout<EvictionQueue.Entry>.stride }

    // MARK: Asking

    /// A request, or a piece of one, asks to pass.
    /// - Parameters:
    ///   - cost: what it is charged where it passes.
    ///   - expected: what it will cost beyond that, as far as is known: there must be room for it, but it is not charged yet.
    ///   - again: what was charged for it before and will have to be paid once more: a refusal's wait is until there is room for that, too.
    public mutating func requested(
        _ subject: RateLimitSubject, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none,
        alreadyCharged: RateLimitCost = .none, now: UInt64
    ) -> RateLimitDecision {
        let (route, row) = places(of: subject, now)
        var decision = RateLimitDecision()
        var tooLarge: UInt32 = 0
        let whole = expected == .none ? cost : cost + expected
        checkAll(route, row, whole, now, &decision, &tooLarge)
        if tooLarge != 0 || decision.violated != 0 {
            if tooLarge == 0, alreadyCharged != .none { waitForAll(&decision, route, row, whole + alreadyCharged, now) }
            refuse(&decision, tooLarge, route, row, now)
            return decision
        }
        pass(subject, route, row, cost, decision.shadowed, pieces: 1, now)
        return decision
    }

    /// Several pieces of a request ask to pass together.
    /// - Parameter cost: of all of them.
    /// - Returns: whether they have passed, every policy in shadow included, and were charged. Where they have not, nothing was charged,
    ///   counted or remembered: each has to ask for itself.
    public mutating func requestedTogether(_ subject: RateLimitSubject, _ cost: RateLimitCost, pieces: Int, now: UInt64) -> Bool {
        let (route, row) = places(of: subject, now)
        var decision = RateLimitDecision()
        var tooLarge: UInt32 = 0
        checkAll(route, row, cost, now, &decision, &tooLarge)
        guard tooLarge == 0, decision.violated == 0, decision.shadowed == 0 else { return false }
        pass(subject, route, row, cost, 0, pieces: pieces, now)
        return true
    }

    /// Where a subject's quotas are. A row of −1: a client that is not known, for whom there is one.
    private mutating func places(of subject: RateLimitSubject, _ now: UInt64) -> (route: Int, row: Int) {
        let route = Swift.min(Swift.max(0, subject.route), routeCount - 1)
        guard !clients.columns.isEmpty else { return (route, -1) }
        return (route, table.row(of: subject.client) ?? (makeRoom(now) ? -1 : table.capacity))
    }

    /// Charges what passes, but for what policies in shadow would have refused.
    private mutating func pass(
        _ subject: RateLimitSubject, _ route: Int, _ known: Int, _ cost: RateLimitCost, _ shadowed: UInt32, pieces: Int,
        _ now: UInt64
    ) {
        var row = known
        if row < 0, !clients.columns.isEmpty {
            row = table.inserted(subject.client, now: now)
            clients.began(row, now: now)
            Self.charge(&clients, row, cost, shadowed, pieces, now, &counts)
            queue.pushed(row, at: leavingAsked(row, now))
        } else {
            Self.charge(&clients, row, cost, shadowed, pieces, now, &counts)
            if row >= 0, row < table.capacity { table.visited(row, now: now) }
            if row == table.capacity, !clients.columns.isEmpty { overflowed += pieces }
        }
        Self.charge(&global, 0, cost, shadowed, pieces, now, &counts)
        Self.charge(&routes, route, cost, shadowed, pieces, now, &counts)
    }

    private mutating func checkAll(
        _ route: Int, _ row: Int, _ cost: RateLimitCost, _ now: UInt64, _ decision: inout RateLimitDecision,
        _ tooLarge: inout UInt32
    ) {
        Self.check(&global, 0, cost, now, &decision, &tooLarge)
        Self.check(&routes, route, cost, now, &decision, &tooLarge)
        // A row that has not begun holds all there is.
        Self.check(&clients, row, cost, now, &decision, &tooLarge)
    }

    private static func check(
        _ rows: inout QuotaStorage, _ row: Int, _ cost: RateLimitCost, _ now: UInt64, _ decision: inout RateLimitDecision,
        _ tooLarge: inout UInt32
    ) {
        for column in rows.columns {
            let amount = cost[column.unit]
            guard amount > 0 else { continue }
            let bit = UInt32(1) << column.policy
            if amount > column.capacity {
                if column.isShadow { decision.shadowed |= bit } else { tooLarge |= bit }
                continue
            }
            guard row >= 0 else { continue }
            let wait = rows.retryDelay(row, column, for: amount, at: now)
            guard wait > 0 else { continue }
            if column.isShadow {
                decision.shadowed |= bit
                continue
            }
            decision.violated |= bit
            if wait > decision.wait {
                decision.wait = wait
                decision.policy = column.policy
            }
        }
    }

    /// Makes a refusal's wait long enough for the whole to be tried again.
    private mutating func waitForAll(
        _ decision: inout RateLimitDecision, _ route: Int, _ row: Int, _ cost: RateLimitCost, _ now: UInt64
    ) {
        var whole = RateLimitDecision()
        var tooLarge: UInt32 = 0
        checkAll(route, row, cost, now, &whole, &tooLarge)
        guard whole.wait > decision.wait else { return }
        decision.wait = whole.wait
        decision.policy = whole.policy
    }

    /// Completes a refusal, and counts it.
    private mutating func refuse(
        _ decision: inout RateLimitDecision, _ tooLarge: UInt32, _ route: Int, _ row: Int, _ now: UInt64
    ) {
        let isKnown = row >= 0 && row < table.capacity
        if isKnown { table.visited(row, now: now) }
        if row == table.capacity, !clients.columns.isEmpty { overflowed += 1 }
        if tooLarge != 0 {
            decision.verdict = .tooLarge
            decision.violated = tooLarge
            decision.wait = 0
            decision.policy = tooLarge.trailingZeroBitCount
        } else {
            decision.verdict = .refused
            // Until then it keeps its row: also where only others' policies refuse it, which does no harm.
            if isKnown { table.limited(row, until: Self.sum(now, decision.wait)) }
        }
        decision.remaining = remaining(of: decision.policy, route, row, now)
        for position in counts.indices where decision.violated >> position & 1 == 1 {
            if tooLarge != 0 { counts[position].tooLarge += 1 } else { counts[position].refused += 1 }
        }
        for position in counts.indices where decision.shadowed >> position & 1 == 1 { counts[position].shadowRefused += 1 }
    }

    private mutating func remaining(of policy: Int, _ route: Int, _ row: Int, _ now: UInt64) -> Int {
        for column in global.columns where column.policy == policy { return global.availableTokens(0, column, at: now) }
        for column in routes.columns where column.policy == policy { return routes.availableTokens(route, column, at: now) }
        for column in clients.columns where column.policy == policy {
            return row < 0 ? column.capacity : clients.availableTokens(row, column, at: now)
        }
        return 0
    }

    private static func charge(
        _ rows: inout QuotaStorage, _ row: Int, _ cost: RateLimitCost, _ shadowed: UInt32, _ pieces: Int, _ now: UInt64,
        _ counts: inout [RateLimitCounts]
    ) {
        for column in rows.columns {
            let amount = cost[column.unit]
            guard amount > 0 else { continue }
            guard shadowed >> column.policy & 1 == 0 else {
                counts[column.policy].shadowRefused += 1
                continue
            }
            rows.spent(row, column, amount, now: now)
            counts[column.policy].allowed += pieces
        }
    }

    // MARK: Rows

    /// Sees to it that there is a row for a new client. Where there is room anyhow, two that are of no use any more still go, so that the
    /// table shrinks after a flood.
    /// - Returns: whether there is a row.
    private mutating func makeRoom(_ now: UInt64) -> Bool {
        var looks = table.count < limits.maxKeys ? 2 : Self.mostLooks
        while looks > 0, let first = queue.first, first.instant <= now {
            looks -= 1
            let row = Int(first.row)
            let instant = leavingAsked(row, now)
            guard instant <= now else {
                queue.firstPostponed(to: instant)
                continue
            }
            // Only need drives out somebody who has used something.
            guard table.count >= limits.maxKeys || clients.freshAsked(row, now: now) == 0 else { break }
            queue.firstRemoved()
            table.removed(row)
            if table.count < limits.maxKeys { looks = Swift.min(looks, 2) }
        }
        return table.count < limits.maxKeys
    }

    /// The moment from which a row may be given to another client, if nothing passes until then.
    mutating func leavingAsked(_ row: Int, _ now: UInt64) -> UInt64 {
        let fresh = clients.freshAsked(row, now: now)
        guard fresh > 0 else { return now }
        let visit = table.visit(row)
        let limited = Swift.max(visit.limitedUntil, Self.sum(now, clients.limitedAsked(row, now: now)))
        return Swift.min(Self.sum(now, fresh), Swift.max(Self.sum(visit.seen, limits.keyIdle), limited))
    }

    private static func sum(_ instant: UInt64, _ span: UInt64) -> UInt64 {
        let (sum, isBeyondTime) = instant.addingReportingOverflow(span)
        return isBeyondTime ? .max : sum
    }
}
