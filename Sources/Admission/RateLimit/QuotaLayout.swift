// Decides where a row of quotas has which policy's machine, and carries levels over to another layout.

import Backpressure

/// The machines of a row: one for each policy that applies to it. Memory that is all zero is a row of full quotas.
struct QuotaLayout {
    /// One policy's machine in a row.
    struct Column {
        fileprivate enum Machine {
            case bucket(TokenBucketMachine.Limit)
            case window(SlidingWindowLimit)
            /// Its counts need more than 32 bits.
            case wideWindow(SlidingWindowLimit)
        }

        /// The policy's position in the list of all.
        let policy: Int
        let unit: RateLimitPolicy.Unit
        let capacity: Int
        let isShadow: Bool
        fileprivate let machine: Machine
        fileprivate let offset: Int
    }

    typealias Row = UnsafeMutableRawPointer
    private typealias Window = SlidingWindowMachine<UInt32>
    private typealias WideWindow = SlidingWindowMachine<UInt64>

    let columns: [Column]
    /// Bytes of the machines.
    let size: Int
    private let policies: [RateLimitPolicy]

    /// - Parameter isByClient: the policies of each client get a column, not the others.
    init(_ policies: [RateLimitPolicy], isByClient: Bool) {
        var columns: [Column] = []
        var size = 0
        for (position, policy) in policies.enumerated() where (policy.key == .client) == isByClient {
            let (machine, stride): (Column.Machine, Int) =
                switch policy.quota {
                case .bucket(let limit): (.bucket(limit), MemoryLayout<TokenBucketMachine>.stride)
                case .window(let limit) where limit.amount <= UInt32.max: (.window(limit), MemoryLayout<Window>.stride)
                case .window(let limit): (.wideWindow(limit), MemoryLayout<WideWindow>.stride)
                }
            columns.append(
                Column(
                    policy: position, unit: policy.unit, capacity: policy.capacity, isShadow: policy.isShadow, machine: machine,
                    offset: size))
            size += (stride + 15) & ~15
        }
        self.columns = columns
        self.size = size
        self.policies = policies
    }

    private static func bucket(_ row: Row, _ column: Column) -> UnsafeMutablePointer<TokenBucketMachine> {
        (row + column.offset).assumingMemoryBound(to: TokenBucketMachine.self)
    }

    private static func window(_ row: Row, _ column: Column) -> UnsafeMutablePointer<Window> {
        (row + column.offset).assumingMemoryBound(to: Window.self)
    }

    private static func wideWindow(_ row: Row, _ column: Column) -> UnsafeMutablePointer<WideWindow> {
        (row + column.offset).assumingMemoryBound(to: WideWindow.self)
    }

    /// Nanoseconds until `amount` is admitted; 0: now.
    static func retryDelay(_ row: Row, _ column: Column, for amount: Int, at now: UInt64) -> UInt64 {
        switch column.machine {
        case .bucket(let limit): bucket(row, column).pointee.retryDelay(for: amount, limit, at: now)
        case .window(let limit): window(row, column).pointee.retryDelay(for: amount, limit, at: now)
        case .wideWindow(let limit): wideWindow(row, column).pointee.retryDelay(for: amount, limit, at: now)
        }
    }

    /// How much is admitted now.
    static func availableTokens(_ row: Row, _ column: Column, at now: UInt64) -> Int {
        switch column.machine {
        case .bucket(let limit): Swift.max(0, bucket(row, column).pointee.availableTokens(limit, at: now))
        case .window(let limit): window(row, column).pointee.availableTokens(limit, at: now)
        case .wideWindow(let limit): wideWindow(row, column).pointee.availableTokens(limit, at: now)
        }
    }

    /// Charges an amount, also one above what is available.
    static func spend(_ row: Row, _ column: Column, _ amount: Int, now: UInt64) {
        switch column.machine {
        case .bucket(let limit): bucket(row, column).pointee.spent(amount, limit, now: now)
        case .window(let limit): window(row, column).pointee.spent(amount, limit, now: now)
        case .wideWindow(let limit): wideWindow(row, column).pointee.spent(amount, limit, now: now)
        }
    }

    /// Whether all quotas of a row are full.
    func isUnused(_ row: Row, at now: UInt64) -> Bool {
        columns.allSatisfy { Self.retryDelay(row, $0, for: $0.capacity, at: now) == 0 }
    }

    /// Whether a row refuses even a cost of 1.
    func isLimited(_ row: Row, at now: UInt64) -> Bool {
        columns.contains { !$0.isShadow && Self.retryDelay(row, $0, for: 1, at: now) > 0 }
    }

    // MARK: Changed limits

    /// For each column the one of `old` that holds the levels of the same policy, by name, key and unit; `nil`: it is a new policy.
    func origins(in old: QuotaLayout) -> [Column?] {
        columns.map { column in
            let policy = policies[column.policy]
            return old.columns.first {
                let before = old.policies[$0.policy]
                return before.name == policy.name && before.key == policy.key && before.unit == policy.unit
            }
        }
    }

    /// Carries the levels of a row over to `row`, which is all zero, as they were when the limits changed, at `instant`; nothing is
    /// refilled. The old row is not used again.
    func carryOver(_ old: Row, _ origins: [Column?], to row: Row, at instant: UInt64) {
        for (column, origin) in zip(columns, origins) {
            guard let origin else { continue }
            if case .bucket(let limit) = column.machine, case .bucket(let before) = origin.machine {
                let machine = Self.bucket(row, column)
                machine.moveInitialize(from: Self.bucket(old, origin), count: 1)
                machine.pointee.update(from: before, to: limit, now: instant)
            } else if let limit = column.machine.window, let before = origin.machine.window {
                var machine =
                    if case .window = origin.machine {
                        WideWindow(Self.window(old, origin).pointee)
                    } else { WideWindow(Self.wideWindow(old, origin).pointee) }
                machine.update(from: before, to: limit, now: instant)
                if case .window = column.machine {
                    Self.window(row, column).initialize(to: Window(machine))
                } else {
                    Self.wideWindow(row, column).initialize(to: machine)
                }
            } else {
                // Of another kind: the used share is carried over, rounded up.
                let used = Swift.min(origin.capacity - Self.availableTokens(old, origin, at: instant), origin.capacity)
                let share = Int128(used) * Int128(column.capacity) + Int128(origin.capacity - 1)
                Self.spend(row, column, Int(share / Int128(origin.capacity)), now: instant)
            }
        }
    }
}

extension QuotaLayout.Column.Machine {
    /// The limit of a window.
    fileprivate var window: SlidingWindowLimit? {
        switch self {
        case .bucket: nil
        case .window(let limit), .wideWindow(let limit): limit
        }
    }
}
