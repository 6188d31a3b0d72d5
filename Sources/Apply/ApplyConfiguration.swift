// The settings of applying: how rows are written, what errors mean, when a partition counts as poisoned.

/// Settings of an ``TableWriter``.
public struct ApplyConfiguration: Sendable {
    /// The consumer group in whose name offsets and dead letters are kept.
    public var group: String
    /// Whether a key's events may be coalesced.
    public var coalesce = CoalesceSetting.auto
    /// What errors mean.
    public var outcomes: OutcomeTable
    /// When a partition counts as poisoned.
    public var poison = PoisonLimits()
    /// Rows from which on a round is worth statements of its own; smaller rounds, the tails of hot keys, are written in order by
    /// one statement together.
    public var leastRoundRows = 64
    /// How refused events are searched for.
    public var bisection = BisectionLimits()
    /// Bytes a parameter buffer may keep between transactions.
    public var keptBufferBytes = 4 << 20

    /// Defaults for everything but the group.
    public init(group: String, outcomes: OutcomeTable) {
        self.group = group
        self.outcomes = outcomes
    }
}
