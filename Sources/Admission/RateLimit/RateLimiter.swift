// Shares the limits on requests between those who ask and whoever changes them.

import Synchronization

/// The limits on requests behind one lock.
///
/// Asking is synchronous and allocates nothing for a client that is known; without a policy neither the lock is taken nor the clock read.
public final class RateLimiter: Sendable {
    /// How often each policy has decided what, and how many clients are known.
    public struct Statistics: Sendable {
        /// By policy, in the order of the configuration.
        public let policies: [(policy: RateLimitPolicy, counts: RateLimitCounts)]
        /// Clients with quotas of their own.
        public let keys: Int
        /// Pieces that were charged to the quotas shared by clients for which there was no room.
        public let overflowed: Int
    }

    private let machine: Mutex<RateLimitMachine>
    private let hasPolicies: Atomic<Bool>
    private let clock: @Sendable () -> UInt64

    /// - Parameters:
    ///   - limits: the policies, and how many clients are known.
    ///   - routes: how many there are; requests name one by its number.
    ///   - secret: random bits that decide where clients lie in memory.
    ///   - clock: monotonic nanoseconds.
    public init(
        _ limits: RateLimits, routes: Int,
        secret: RateLimitKey = RateLimitKey(high: .random(in: 0 ... .max), low: .random(in: 0 ... .max)),
        clock: @escaping @Sendable () -> UInt64
    ) {
        self.clock = clock
        hasPolicies = Atomic(!limits.policies.isEmpty)
        machine = Mutex(RateLimitMachine(limits, routes: routes, secret: secret, now: clock()))
    }

    /// Whether anything is limited; if not, nobody has to ask.
    public var isLimited: Bool { hasPolicies.load(ordering: .relaxed) }

    /// A request, or a piece of one, asks to pass; `nil`: it passes, and has been charged.
    /// - Parameters:
    ///   - expected: what it will cost beyond that: there must be room for it, but it is not charged yet.
    ///   - again: what was charged before and will have to be paid once more by whoever is refused now.
    public func admit(
        _ subject: RateLimitSubject, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none,
        alreadyCharged: RateLimitCost = .none
    ) -> RateLimitRefusal? {
        guard isLimited else { return nil }
        return machine.withLock { machine in
            let decision = machine.requested(subject, cost, expecting: expected, alreadyCharged: alreadyCharged, now: clock())
            guard decision.verdict != .admitted else { return nil }
            return RateLimitRefusal(decision: decision, policies: machine.policies)
        }
    }

    /// Several pieces of a request ask to pass together.
    /// - Returns: whether they have passed and were charged; otherwise nothing has happened, and each has to ask for itself.
    public func admitTogether(_ subject: RateLimitSubject, _ cost: RateLimitCost, pieces: Int) -> Bool {
        guard isLimited else { return true }
        return machine.withLock { $0.requestedTogether(subject, cost, pieces: pieces, now: clock()) }
    }

    /// Other limits are in force; levels are carried over.
    public func update(_ limits: RateLimits) {
        machine.withLock { $0.update(limits, now: clock()) }
        hasPolicies.store(!limits.policies.isEmpty, ordering: .relaxed)
    }

    /// Figures of this moment.
    public var statistics: Statistics {
        machine.withLock { machine in
            Statistics(
                policies: zip(machine.policies.list, machine.counts).map { (policy: $0, counts: $1) }, keys: machine.keyCount,
                overflowed: machine.overflowed)
        }
    }

    /// Bytes a client takes.
    public var bytesPerKey: Int { machine.withLock { $0.bytesPerKey } }
}
