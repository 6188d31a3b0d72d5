// Decides how much may be read: one account of credits with watermarks, as pure state.

/// An account of credits: how many records and bytes may be under way, how many are, and whether its reader must wait. Each partition
/// has one, and so has the pipeline as a whole.
///
/// A reader asks for its allowance, reads up to it and reports what it spent. A single record may be larger than what was free,
/// so an account can go into debt; it is closed until the debt is paid. An account that has refused opens again only when at least
/// the low watermark is free: otherwise the reader would be woken for single records.
///
/// Invariant: `free + outstanding == total`, in both units, after every step.
public struct CreditMachine: ~Copyable {
    /// What may be under way at most.
    public private(set) var total: Credits
    /// What is under way.
    public private(set) var outstanding = Credits.zero
    /// What must be free before an account that has refused opens again.
    public private(set) var low: Credits
    private var hasRefused = false
    /// At least `low` was free at some moment since the last sample.
    private var wasAvailable = true

    /// What to do when credits return.
    public enum ReturnAction: Equatable, Sendable {
        /// No reader waits, or too little is free.
        case none
        /// The account refused its reader and is open again.
        case wakeReader
    }

    /// - Parameters:
    ///   - total: what may be under way at most; positive in both units.
    ///   - low: what must be free before a refused reader is woken.
    public init(total: Credits, low: Credits) {
        precondition(total.isPositive, "an account needs credits of both units")
        self.total = total
        self.low = low
    }

    /// - Parameters:
    ///   - total: what may be under way at most; positive in both units.
    ///   - lowWatermark: the share of the total that must be free before a refused reader is woken, 0…1.
    public init(total: Credits, lowWatermark: Double) {
        self.init(total: total, low: Self.watermark(lowWatermark, of: total))
    }

    /// What is free; negative: the account is in debt.
    public var free: Credits { total - outstanding }

    /// What may be read now; zero while the account is closed.
    public mutating func allowanceAsked() -> Credits {
        let free = self.free
        let isOpen = hasRefused ? free.covers(low) : free.isPositive
        hasRefused = !isOpen
        return isOpen ? free : .zero
    }

    /// A batch of this size was read.
    public mutating func spent(_ amount: Credits) { outstanding += amount }

    /// A batch of this size is durable, or dropped.
    public mutating func returned(_ amount: Credits) -> ReturnAction {
        outstanding -= amount
        precondition(outstanding.records >= 0 && outstanding.bytes >= 0, "more credits returned than were spent")
        return wakeIfOpen()
    }

    /// The account's size and watermark were changed; what is under way stays counted.
    public mutating func resized(to total: Credits, low: Credits) -> ReturnAction {
        precondition(total.isPositive, "an account needs credits of both units")
        self.total = total
        self.low = low
        return wakeIfOpen()
    }

    /// The account was sampled. Returns whether at least the low watermark was free at some moment since the last sample. The level
    /// alone does not show that: a reader spends returned credits within a millisecond.
    public mutating func sampled() -> Bool {
        defer { wasAvailable = free.covers(low) }
        return wasAvailable
    }

    private mutating func wakeIfOpen() -> ReturnAction {
        guard free.covers(low) else { return .none }
        wasAvailable = true
        guard hasRefused else { return .none }
        hasRefused = false
        return .wakeReader
    }

    /// A share of an amount, at least 1 in both units.
    static func watermark(_ share: Double, of total: Credits) -> Credits {
        Credits(
            records: Swift.max(1, Int(Double(total.records) * share)), bytes: Swift.max(1, Int(Double(total.bytes) * share)))
    }
}
