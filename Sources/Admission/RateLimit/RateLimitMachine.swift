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
/// Clients without a row share one until a row is free.
public struct RateLimitMachine: ~Copyable {
    /// Most rows that are checked for eviction for one new client; after that it gets the shared row.
    private static let mostChecks = 64

    /// The limits in force.
    public internal(set) var limits: RateLimits
    /// Counts of decisions, by policy.
    public internal(set) var counts: [RateLimitCounts]
    /// Pieces that were decided by the shared row, refused ones included.
    public private(set) var overflowed = 0
    let secret: RateLimitKey
    /// One row: of the policies that are not by client.
    var common: QuotaStorage
    /// A row for each client, and after them the shared row.
    var clients: QuotaStorage
    var table: QuotaKeyTable
    var queue = EvictionQueue()

    /// Limits with full quotas at `now`, monotonic nanoseconds.
    /// - Parameter secret: random bits that seed the hash of client keys, so that clients cannot choose their place in the table.
    public init(_ limits: RateLimits, secret: RateLimitKey, now: UInt64) {
        self.limits = limits
        self.secret = secret
        counts = limits.policies.map { _ in RateLimitCounts() }
        common = QuotaStorage(limits.policies, isByClient: false, count: 1)
        let capacity = limits.hasClientPolicy ? limits.maxKeys : 0
        clients = QuotaStorage(limits.policies, isByClient: true, count: capacity + 1)
        table = QuotaKeyTable(capacity: capacity, secret: secret)
        common.initialize(0, now: now)
        clients.initialize(capacity, now: now)
    }

    /// Clients with a row of their own.
    public var keyCount: Int { table.count }

    /// Bytes of memory for a client.
    public var bytesPerKey: Int { clients.stride + table.bytesPerKey + MemoryLayout<EvictionQueue.Entry>.stride }

    // MARK: Decisions

    /// A request, or a piece of one, came in.
    /// - Parameters:
    ///   - cost: what it is charged where it is admitted.
    ///   - expected: its further cost as far as is known: the quotas must suffice for it, but it is not charged yet.
    ///   - alreadyCharged: what earlier pieces of the request were charged. A refused client repeats the whole request, so its wait lasts
    ///     until the quotas suffice for this as well.
    public mutating func requested(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none,
        alreadyCharged: RateLimitCost = .none, now: UInt64
    ) -> RateLimitDecision {
        let row = row(of: client, now)
        var decision = RateLimitDecision()
        var tooLarge: UInt32 = 0
        let whole = expected == .none ? cost : cost + expected
        checkAll(row, whole, now, &decision, &tooLarge)
        if tooLarge != 0 || decision.violated != 0 {
            if tooLarge == 0, alreadyCharged != .none { waitForAll(&decision, row, whole + alreadyCharged, now) }
            refuse(&decision, tooLarge, row, now)
            return decision
        }
        pass(client, row, cost, decision.shadowed, pieces: 1, now)
        return decision
    }

    /// Several pieces of a request came in together.
    /// - Parameter cost: of all pieces together.
    /// - Returns: whether all policies, those in shadow mode included, admit all of them; then they were charged. If not, nothing was charged,
    ///   counted or stored, and each piece has to be decided by itself.
    public mutating func requestedTogether(_ client: RateLimitKey, _ cost: RateLimitCost, pieces: Int, now: UInt64) -> Bool {
        let row = row(of: client, now)
        var decision = RateLimitDecision()
        var tooLarge: UInt32 = 0
        checkAll(row, cost, now, &decision, &tooLarge)
        guard tooLarge == 0, decision.violated == 0, decision.shadowed == 0 else { return false }
        pass(client, row, cost, 0, pieces: pieces, now)
        return true
    }

    /// The row of a client's quotas. −1: a new client, for which there is a free row.
    private mutating func row(of client: RateLimitKey, _ now: UInt64) -> Int {
        guard !clients.columns.isEmpty else { return -1 }
        return table.row(of: client) ?? (makeRoom(now) ? -1 : table.capacity)
    }

    /// Charges an admitted cost, except to policies in shadow mode that would have refused it.
    private mutating func pass(
        _ client: RateLimitKey, _ known: Int, _ cost: RateLimitCost, _ shadowed: UInt32, pieces: Int, _ now: UInt64
    ) {
        var row = known
        if row < 0, !clients.columns.isEmpty {
            row = table.insert(client, now: now)
            clients.initialize(row, now: now)
            Self.charge(&clients, row, cost, shadowed, pieces, now, &counts)
            queue.push(row, at: evictionInstant(row, now))
        } else {
            Self.charge(&clients, row, cost, shadowed, pieces, now, &counts)
            if row >= 0, row < table.capacity { table[row].seen = now }
            if row == table.capacity, !clients.columns.isEmpty { overflowed += pieces }
        }
        Self.charge(&common, 0, cost, shadowed, pieces, now, &counts)
    }

    private mutating func checkAll(
        _ row: Int, _ cost: RateLimitCost, _ now: UInt64, _ decision: inout RateLimitDecision, _ tooLarge: inout UInt32
    ) {
        Self.check(&common, 0, cost, now, &decision, &tooLarge)
        // The quotas of a new client are full.
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

    /// Extends a refusal's wait until the quotas suffice for the repeated request.
    private mutating func waitForAll(
        _ decision: inout RateLimitDecision, _ row: Int, _ cost: RateLimitCost, _ now: UInt64
    ) {
        var whole = RateLimitDecision()
        var tooLarge: UInt32 = 0
        checkAll(row, cost, now, &whole, &tooLarge)
        guard whole.wait > decision.wait else { return }
        decision.wait = whole.wait
        decision.policy = whole.policy
    }

    /// Completes and counts a refusal.
    private mutating func refuse(_ decision: inout RateLimitDecision, _ tooLarge: UInt32, _ row: Int, _ now: UInt64) {
        let isKnown = row >= 0 && row < table.capacity
        if isKnown { table[row].seen = now }
        if row == table.capacity, !clients.columns.isEmpty { overflowed += 1 }
        if tooLarge != 0 {
            decision.verdict = .tooLarge
            decision.violated = tooLarge
            decision.wait = 0
            decision.policy = tooLarge.trailingZeroBitCount
        } else {
            decision.verdict = .refused
            // The client keeps its row until then, also where only a policy of all clients refused it.
            if isKnown { table[row].limitedUntil = Swift.max(table[row].limitedUntil, Self.sum(now, decision.wait)) }
        }
        decision.remaining = remaining(of: decision.policy, row, now)
        for position in counts.indices where decision.violated >> position & 1 == 1 {
            if tooLarge != 0 { counts[position].tooLarge += 1 } else { counts[position].refused += 1 }
        }
        for position in counts.indices where decision.shadowed >> position & 1 == 1 { counts[position].shadowRefused += 1 }
    }

    private mutating func remaining(of policy: Int, _ row: Int, _ now: UInt64) -> Int {
        for column in common.columns where column.policy == policy { return common.availableTokens(0, column, at: now) }
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
            rows.spend(row, column, amount, now: now)
            counts[column.policy].allowed += pieces
        }
    }

    // MARK: Eviction

    /// Evicts rows for a new client. Where a row is free, up to two unused rows are evicted all the same, so that the table shrinks after a
    /// flood.
    /// - Returns: whether a row is free.
    private mutating func makeRoom(_ now: UInt64) -> Bool {
        var checks = table.count < limits.maxKeys ? 2 : Self.mostChecks
        while checks > 0, let first = queue.first, first.instant <= now {
            checks -= 1
            let row = Int(first.row)
            let instant = evictionInstant(row, now)
            guard instant <= now else {
                queue.postponeFirst(to: instant)
                continue
            }
            // A client that has used something is evicted only where no row is free.
            guard table.count >= limits.maxKeys || clients.unusedDelay(row, at: now) == 0 else { break }
            queue.removeFirst()
            table.remove(row)
            if table.count < limits.maxKeys { checks = Swift.min(checks, 2) }
        }
        return table.count < limits.maxKeys
    }

    /// From when a row may be evicted, if nothing is charged until then. Monotonic nanoseconds.
    mutating func evictionInstant(_ row: Int, _ now: UInt64) -> UInt64 {
        let unused = clients.unusedDelay(row, at: now)
        guard unused > 0 else { return now }
        let client = table[row]
        let limited = Swift.max(client.limitedUntil, Self.sum(now, clients.refusalDelay(row, at: now)))
        return Swift.min(Self.sum(now, unused), Swift.max(Self.sum(client.seen, limits.keyIdle), limited))
    }

    private static func sum(_ instant: UInt64, _ span: UInt64) -> UInt64 {
        let (sum, isOverflow) = instant.addingReportingOverflow(span)
        return isOverflow ? .max : sum
    }
}
