// Owns the rate limits with their lock: admits requests, and takes changed limits.

import Synchronization

/// The rate limits behind one lock.
///
/// A decision about a known client allocates nothing. Without a policy neither is the lock taken nor the clock read.
public final class RateLimiter: Sendable {
    /// Counts of decisions, and of clients.
    public struct Statistics: Sendable {
        /// By policy, in the order of the configuration.
        public let policies: [(policy: RateLimitPolicy, counts: RateLimitCounts)]
        /// Clients with quotas of their own.
        public let keys: Int
        /// Pieces that were charged to the quota shared by clients without one of their own.
        public let overflowed: Int
    }

    /// Rows that are carried over to changed limits under one lock, which is a fraction of a millisecond.
    private static let rowsInHold = 256

    private let machine: Mutex<RateLimitMachine>
    private let hasPolicies: Atomic<Bool>
    private let clock: @Sendable () -> UInt64

    /// - Parameters:
    ///   - limits: the policies, and the bounds of their memory.
    ///   - clock: monotonic nanoseconds.
    public init(_ limits: RateLimits, clock: @escaping @Sendable () -> UInt64) {
        self.clock = clock
        hasPolicies = Atomic(!limits.policies.isEmpty)
        machine = Mutex(RateLimitMachine(limits))
    }

    /// Whether there are policies.
    public var isLimited: Bool { hasPolicies.load(ordering: .relaxed) }

    /// Decides about a request, or a piece of one. `nil`: it is admitted, and was charged.
    /// - Parameters:
    ///   - expected: its further cost: the quotas must suffice for it, but it is not charged yet.
    ///   - alreadyCharged: what earlier pieces of the request were charged. A refused client repeats the whole request, so its wait lasts
    ///     until the quotas suffice for this as well.
    ///   - lost: bytes that will be charged (``used(_:bytes:)``) although the request is refused; they lengthen the wait.
    public func admit(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none,
        alreadyCharged: RateLimitCost = .none, lost: Int = 0
    ) -> RateLimitRefusal? {
        guard isLimited else { return nil }
        return machine.withLock { machine in
            let decision = machine.requested(
                client, cost, expecting: expected, alreadyCharged: alreadyCharged, lost: lost, now: clock())
            guard decision.verdict != .admitted else { return nil }
            return RateLimitRefusal(decision: decision, policies: machine.limits.policies)
        }
    }

    /// Decides about several pieces of a request together.
    /// - Returns: whether all were admitted and charged; if not, nothing was charged or counted, and each has to be decided by itself.
    public func admitTogether(_ client: RateLimitKey, _ cost: RateLimitCost, pieces: Int) -> Bool {
        guard isLimited else { return true }
        return machine.withLock { $0.requestedTogether(client, cost, pieces: pieces, now: clock()) }
    }

    /// Charges bytes of a client that nothing has been charged for, without a decision.
    public func used(_ client: RateLimitKey, bytes: Int) {
        guard isLimited, bytes > 0 else { return }
        machine.withLock { $0.used(client, bytes: bytes, now: clock()) }
    }

    /// Puts other limits into force; levels are carried over. Requests are decided meanwhile: no lock is held for long.
    public func update(_ limits: RateLimits) {
        // The table of the limits before is freed after the lock.
        let before = machine.withLock { machine in
            let before = machine.clients
            machine.update(limits, now: clock())
            return before
        }
        hasPolicies.store(!limits.policies.isEmpty, ordering: .relaxed)
        withExtendedLifetime(before) {
            while machine.withLock({ $0.carryOver(most: Self.rowsInHold) }) {}
        }
    }

    /// The current counts.
    public var statistics: Statistics {
        machine.withLock { machine in
            Statistics(
                policies: zip(machine.limits.policies, machine.counts).map { (policy: $0, counts: $1) }, keys: machine.keyCount,
                overflowed: machine.overflowed)
        }
    }

    /// Bytes of memory for a client.
    public var bytesPerKey: Int { machine.withLock { $0.bytesPerKey } }
}
