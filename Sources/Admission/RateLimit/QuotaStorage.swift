// Owns the memory of quotas: a row for each client or route, in it one machine for each policy that applies to it.

import Backpressure

/// Rows of quotas in one piece of memory. A row is `stride` bytes; nothing is allocated once the rows are.
///
/// The memory is asked for as a whole, but costs nothing until a row is begun: the system hands out pages when they are touched.
struct QuotaStorage: ~Copyable {
    /// One policy's place in a row.
    struct Column {
        /// The policy's position in the list of all.
        let policy: Int
        let unit: RateLimitPolicy.Unit
        let capacity: Int
        let isShadow: Bool
        fileprivate let isWindow: Bool
        fileprivate let offset: Int
    }

    let columns: [Column]
    /// Bytes of a row.
    let stride: Int
    private let policies: [RateLimitPolicy]
    private let memory: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - policies: all of them; those of `key` get a column.
    ///   - count: rows; none is begun.
    init(_ policies: [RateLimitPolicy], key: RateLimitPolicy.Key, count: Int) {
        var columns: [Column] = []
        var size = 0
        for (position, policy) in policies.enumerated() where policy.key == key {
            let isWindow = if case .window = policy.quota { true } else { false }
            columns.append(
                Column(
                    policy: position, unit: policy.unit, capacity: policy.capacity, isShadow: policy.isShadow,
                    isWindow: isWindow, offset: size))
            size += Self.size(of: policy.quota)
        }
        self.columns = columns
        self.policies = policies
        stride = size
        memory = .allocate(byteCount: Swift.max(size * count, 16), alignment: 16)
    }

    // Machines hold numbers only: there is nothing to end in them.
    deinit { memory.deallocate() }

    /// Bytes of a row of these policies.
    static func stride(of policies: [RateLimitPolicy], key: RateLimitPolicy.Key) -> Int {
        policies.lazy.filter { $0.key == key }.reduce(0) { $0 + size(of: $1.quota) }
    }

    /// Bytes of a quota's machine, so that the next one is aligned as well.
    private static func size(of quota: RateLimitPolicy.Quota) -> Int {
        let stride =
            switch quota {
            case .window: MemoryLayout<SlidingWindowMachine>.stride
            case .bucket: MemoryLayout<TokenBucketMachine>.stride
            }
        return (stride + 15) & ~15
    }

    private func bucket(_ row: Int, _ column: Column) -> UnsafeMutablePointer<TokenBucketMachine> {
        (memory + row * stride + column.offset).assumingMemoryBound(to: TokenBucketMachine.self)
    }

    private func window(_ row: Int, _ column: Column) -> UnsafeMutablePointer<SlidingWindowMachine> {
        (memory + row * stride + column.offset).assumingMemoryBound(to: SlidingWindowMachine.self)
    }

    /// Every quota of a row is whole: nothing has passed yet.
    mutating func began(_ row: Int, now: UInt64) {
        for column in columns { begin(row, column, now) }
    }

    private func begin(_ row: Int, _ column: Column, _ now: UInt64) {
        switch policies[column.policy].quota {
        case .bucket(let limit): bucket(row, column).initialize(to: TokenBucketMachine(limit, now: now))
        case .window(let limit): window(row, column).initialize(to: SlidingWindowMachine(limit, now: now))
        }
    }

    /// How long until so much can pass, nanoseconds.
    mutating func retryDelay(_ row: Int, _ column: Column, for amount: Int, at now: UInt64) -> UInt64 {
        column.isWindow
            ? window(row, column).pointee.retryDelay(for: amount, at: now)
            : bucket(row, column).pointee.retryDelay(for: amount, at: now)
    }

    /// How much can pass now.
    mutating func availableTokens(_ row: Int, _ column: Column, at now: UInt64) -> Int {
        column.isWindow
            ? window(row, column).pointee.availableTokens(at: now)
            : Swift.max(0, bucket(row, column).pointee.availableTokens(at: now))
    }

    /// So much has passed.
    mutating func spent(_ row: Int, _ column: Column, _ amount: Int, now: UInt64) {
        if column.isWindow {
            window(row, column).pointee.spent(amount, now: now)
        } else {
            bucket(row, column).pointee.spent(amount, now: now)
        }
    }

    /// Nanoseconds after which a row is as one that has just begun, if nothing passes.
    mutating func freshAsked(_ row: Int, now: UInt64) -> UInt64 {
        var wait: UInt64 = 0
        for column in columns {
            let own =
                column.isWindow
                ? window(row, column).pointee.emptyDelay(at: now)
                : bucket(row, column).pointee.retryDelay(for: column.capacity, at: now)
            wait = Swift.max(wait, own)
        }
        return wait
    }

    /// Nanoseconds for which a row refuses even the least, if nothing passes.
    mutating func limitedAsked(_ row: Int, now: UInt64) -> UInt64 {
        var wait: UInt64 = 0
        for column in columns where !column.isShadow { wait = Swift.max(wait, retryDelay(row, column, for: 1, at: now)) }
        return wait
    }

    // MARK: Change

    /// For each of these columns, which one of `old` holds the same policy's levels, by name. Where key or unit differ it is another
    /// policy, and begins anew.
    func origins(in old: borrowing QuotaStorage) -> [Int?] {
        columns.map { column in
            let policy = policies[column.policy]
            return old.columns.firstIndex { old.policies[$0.policy].name == policy.name && $0.unit == policy.unit }
        }
    }

    /// A row goes on as what it was under other limits. Levels are carried over and never refilled.
    mutating func continued(
        _ row: Int, from old: borrowing QuotaStorage, _ oldRow: Int, _ origins: [Int?], now: UInt64
    ) {
        for (position, column) in columns.enumerated() {
            guard let origin = origins[position] else {
                begin(row, column, now)
                continue
            }
            carry(row, column, from: old, oldRow, old.columns[origin], now)
        }
    }

    private func carry(
        _ row: Int, _ column: Column, from old: borrowing QuotaStorage, _ oldRow: Int, _ origin: Column, _ now: UInt64
    ) {
        switch (policies[column.policy].quota, origin.isWindow) {
        case (.bucket(let limit), false):
            let place = bucket(row, column)
            place.moveInitialize(from: old.bucket(oldRow, origin), count: 1)
            place.pointee.update(limit, now: now)
        case (.window(let limit), true):
            let place = window(row, column)
            place.moveInitialize(from: old.window(oldRow, origin), count: 1)
            place.pointee.update(limit, now: now)
        case (.bucket, true):
            // Of another kind: what was used is carried over as a share, rounded up.
            let level = old.window(oldRow, origin).pointee.availableTokens(at: now)
            begin(row, column, now)
            bucket(row, column).pointee.spent(Self.used(level, of: origin.capacity, in: column.capacity), now: now)
        case (.window, false):
            let level = old.bucket(oldRow, origin).pointee.availableTokens(at: now)
            begin(row, column, now)
            window(row, column).pointee.spent(Self.used(level, of: origin.capacity, in: column.capacity), now: now)
        }
    }

    /// What is used of a capacity, as a share of another one.
    private static func used(_ level: Int, of capacity: Int, in other: Int) -> Int {
        let used = Swift.min(Swift.max(0, capacity - level), capacity)
        let (product, divisor) = (Int128(used) * Int128(other), Int128(capacity))
        return Int((product + divisor - 1) / divisor)
    }
}
