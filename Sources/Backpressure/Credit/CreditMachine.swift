// Decides how much may be read: one account of credits with watermarks, as pure state.

/// An account of credits: how many records and bytes may be under way, how many are, and whether its reader must wait. Each partition
/// has one, and so has the pipeline as a whole.
///
/// A reader asks for its allowance, reads up to it and reports what it spent. A record that is larger than what is free waits until it
/// fits, or, if it is larger than everything, until everything is free; that one leaves a debt, and the account is closed until the
/// debt is paid. An account that has refused opens again only when at least the low watermark is free: otherwise the reader would be
/// woken for single records.
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
    /// Bytes of a record that waits until so much is free.
    private var awaited = 0
    /// At least the watermark was free at some moment since the last sample.
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

    /// What must be free before an account that has refused opens again: room for the record that waits, at least.
    private var watermark: Credits {
        Credits(records: low.records, bytes: Swift.max(low.bytes, Swift.min(awaited, total.bytes)))
    }

    /// A record waits until it fits.
    var isAwaited: Bool { awaited > 0 }

    /// What may be read now; zero while the account is closed.
    public mutating func allowanceAsked() -> Credits {
        let free = self.free
        let isOpen = hasRefused ? free.covers(watermark) : free.isPositive
        hasRefused = !isOpen
        if isOpen { awaited = 0 }
        return isOpen ? free : .zero
    }

    /// The next record makes a batch of this size, more than was allowed. Returns whether it may be read. Otherwise the account is closed
    /// until it fits: what others read meanwhile would keep it waiting. One that never fits is read alone.
    public mutating func mayExceed(_ batch: Credits) -> Bool {
        let bytes = batch.bytes
        if free.bytes >= (batch.records == 1 ? Swift.min(bytes, total.bytes) : bytes) { return true }
        awaited = bytes
        hasRefused = true
        return false
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

    /// The account was sampled. Returns whether at least the watermark was free at some moment since the last sample. The level
    /// alone does not show that: a reader spends returned credits within a millisecond.
    public mutating func sampled() -> Bool {
        defer { wasAvailable = free.covers(watermark) }
        return wasAvailable
    }

    private mutating func wakeIfOpen() -> ReturnAction {
        guard free.covers(watermark) else { return .none }
        wasAvailable = true
        guard hasRefused else { return .none }
        hasRefused = false
        awaited = 0
        return .wakeReader
    }

    /// A share of an amount, at least 1 in both units.
    static func watermark(_ share: Double, of total: Credits) -> Credits {
        Credits(
            records: Swift.max(1, Int(Double(total.records) * share)), bytes: Swift.max(1, Int(Double(total.bytes) * share)))
    }
}
