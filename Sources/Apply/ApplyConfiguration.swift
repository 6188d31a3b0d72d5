// Holds the settings of a table writer.

/// Settings of a ``TableWriter``.
public struct ApplyConfiguration: Sendable {
    /// The consumer group of offsets and dead letters.
    public var group: String
    /// The name of the mapping, for dead letters.
    public var mapping = ""
    /// What is done about errors, by SQLSTATE.
    public var outcomes: OutcomeTable
    /// Least rows of a round with statements of its own. Smaller rounds, of keys with very many events, are written together by the
    /// sequential function.
    public var leastRoundRows = 64
    /// The same where triggers run once a statement, as those of change capture do: an event that the function writes costs about 45 µs
    /// then, a statement 130 µs and 12 µs a row.
    public var leastCapturedRoundRows = 4
    /// Most rounds with statements of their own: each statement has an array of at least a kilobyte for each of its columns.
    static let mostRounds = 128
    /// What isolating refused events may cost.
    public var bisection = BisectionLimits()
    /// Bytes that the parameter arrays of a lane keep together between transactions.
    public var keptBufferBytes = 4 << 20

    /// Defaults for the other settings.
    public init(group: String, outcomes: OutcomeTable) {
        self.group = group
        self.outcomes = outcomes
    }
}
