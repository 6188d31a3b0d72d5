// Holds the limits of bisection: what isolating refused events may cost.

/// How many statements are spent on bulk attempts before the rest of a transaction is replayed sequentially, which always ends.
public struct BisectionLimits: Sendable, Equatable {
    /// A range of at most this many events is not halved, but replayed sequentially. At least 1.
    public var suspectEvents = 128
    /// After this many refused events the whole rest of the transaction is replayed sequentially.
    public var refusals = 8
    /// Statements that a transaction with one refused event may cost, from the first BEGIN to COMMIT. A range whose bulk statements
    /// would cost more is replayed sequentially.
    public var statements = 60
    /// Statements that each further range with a refused event may cost.
    public var statementsForMore = 40
    /// Into how many pieces a transaction is divided in which refused events are expected.
    public var pieces = 8
    /// As long as fewer refused events are expected in a transaction, it is tried whole.
    public var leastExpected = 0.05

    /// The defaults.
    public init() {}
}
