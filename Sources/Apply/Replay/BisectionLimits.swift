// The settings of bisection: how far a refused transaction is searched in bulk, and when the rest is replayed in order instead.

/// How much is spent on finding refused events before what is left of a transaction is replayed in order, which always ends.
public struct BisectionLimits: Sendable, Equatable {
    /// A range of at most this many events is not halved any more, but replayed in order. At least 1.
    public var suspectEvents = 128
    /// When this many events have been refused, all that is left of the transaction is replayed in order.
    public var refusals = 8
    /// Statements that a transaction with one refused event may cost, from the first BEGIN to COMMIT. A range whose bulk
    /// statements would cost more is replayed in order as a whole.
    public var statements = 60
    /// Statements that each further range found to hold a refused event may cost.
    public var statementsForMore = 40

    /// The defaults.
    public init() {}
}
