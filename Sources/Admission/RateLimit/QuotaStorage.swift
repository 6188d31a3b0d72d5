// Owns the memory of quotas: a row for each client, and one for all together, with one machine for each policy that applies to it.

import Backpressure

/// Rows of quotas in one piece of memory, allocated once. A row is `stride` bytes.
///
/// The system backs the memory with pages only when they are written, so rows that were never initialized cost nothing.
struct QuotaStorage: ~Copyable {
    /// One policy's machine in a row.
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
    ///   - policies: all of them.
    ///   - isByClient: the policies of each client get a column, not the others.
    ///   - count: rows; none is initialized.
    init(_ policies: [RateLimitPolicy], isByClient: Bool, count: Int) {
        var columns: [Column] = []
        var size = 0
        for (position, policy) in policies.enumerated() where (policy.key == .client) == isByClient {
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

    // Machines hold numbers only: they need no deinitialization.
    deinit { memory.deallocate() }

    /// Bytes of a client's row.
    static func clientStride(_ policies: [RateLimitPolicy]) -> Int {
        policies.lazy.filter { $0.key == .client }.reduce(0) { $0 + size(of: $1.quota) }
    }

    /// Bytes of a quota's machine, rounded up to the alignment of the next one.
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

    /// Makes every quota of a row full.
    mutating func initialize(_ row: Int, now: UInt64) {
        for column in columns { initialize(row, column, now) }
    }

    private func initialize(_ row: Int, _ column: Column, _ now: UInt64) {
        switch policies[column.policy].quota {
        case .bucket(let limit): bucket(row, column).initialize(to: TokenBucketMachine(limit, now: now))
        case .window(let limit): window(row, column).initialize(to: SlidingWindowMachine(limit, now: now))
        }
    }

    /// Nanoseconds until `amount` is admitted; 0: now.
    mutating func retryDelay(_ row: Int, _ column: Column, for amount: Int, at now: UInt64) -> UInt64 {
        column.isWindow
            ? window(row, column).pointee.retryDelay(for: amount, at: now)
            : bucket(row, column).pointee.retryDelay(for: amount, at: now)
    }

    /// How much is admitted now.
    mutating func availableTokens(_ row: Int, _ column: Column, at now: UInt64) -> Int {
        column.isWindow
            ? window(row, column).pointee.availableTokens(at: now)
            : Swift.max(0, bucket(row, column).pointee.availableTokens(at: now))
    }

    /// Charges an admitted amount.
    mutating func spend(_ row: Int, _ column: Column, _ amount: Int, now: UInt64) {
        if column.isWindow {
            window(row, column).pointee.spent(amount, now: now)
        } else {
            bucket(row, column).pointee.spent(amount, now: now)
        }
    }

    /// Nanoseconds until all quotas of a row are full, if nothing is charged; 0: it is unused.
    mutating func unusedDelay(_ row: Int, at now: UInt64) -> UInt64 {
        var wait: UInt64 = 0
        for column in columns { wait = Swift.max(wait, retryDelay(row, column, for: column.capacity, at: now)) }
        return wait
    }

    /// Nanoseconds for which a row refuses even a cost of 1, if nothing is charged; 0: it is not limited.
    mutating func refusalDelay(_ row: Int, at now: UInt64) -> UInt64 {
        var wait: UInt64 = 0
        for column in columns where !column.isShadow { wait = Swift.max(wait, retryDelay(row, column, for: 1, at: now)) }
        return wait
    }

    // MARK: Changed limits

    /// For each column the one of `old` that holds the levels of the same policy, by name, key and unit; `nil`: it is a new policy.
    func origins(in old: borrowing QuotaStorage) -> [Int?] {
        columns.map { column in
            let policy = policies[column.policy]
            return old.columns.firstIndex {
                let before = old.policies[$0.policy]
                return before.name == policy.name && before.key == policy.key && before.unit == policy.unit
            }
        }
    }

    /// Carries the levels of a row over; nothing is refilled.
    mutating func carryOver(
        _ row: Int, from old: borrowing QuotaStorage, _ oldRow: Int, _ origins: [Int?], now: UInt64
    ) {
        for (position, column) in columns.enumerated() {
            if let origin = origins[position] {
                carryOver(row, column, from: old, oldRow, old.columns[origin], now)
            } else {
                initialize(row, column, now)
            }
        }
    }

    private func carryOver(
        _ row: Int, _ column: Column, from old: borrowing QuotaStorage, _ oldRow: Int, _ origin: Column, _ now: UInt64
    ) {
        switch (policies[column.policy].quota, origin.isWindow) {
        case (.bucket(let limit), false):
            let machine = bucket(row, column)
            machine.moveInitialize(from: old.bucket(oldRow, origin), count: 1)
            machine.pointee.update(limit, now: now)
        case (.window(let limit), true):
            let machine = window(row, column)
            machine.moveInitialize(from: old.window(oldRow, origin), count: 1)
            machine.pointee.update(limit, now: now)
        case (.bucket, true):
            // Of another kind: the used share is carried over, rounded up.
            let level = old.window(oldRow, origin).pointee.availableTokens(at: now)
            initialize(row, column, now)
            bucket(row, column).pointee.spent(Self.used(level, of: origin.capacity, in: column.capacity), now: now)
        case (.window, false):
            let level = old.bucket(oldRow, origin).pointee.availableTokens(at: now)
            initialize(row, column, now)
            window(row, column).pointee.spent(Self.used(level, of: origin.capacity, in: column.capacity), now: now)
        }
    }

    /// The used share of a capacity, in terms of another one: ⌈(capacity − level) / capacity · other⌉.
    private static func used(_ level: Int, of capacity: Int, in other: Int) -> Int {
        let used = Swift.min(Swift.max(0, capacity - level), capacity)
        let (product, divisor) = (Int128(used) * Int128(other), Int128(capacity))
        return Int((product + divisor - 1) / divisor)
    }
}
