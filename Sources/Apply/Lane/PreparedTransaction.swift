// Owns a transaction that is ready to be sent: statements with their parameters, dead letters and new offsets.

import Postgres
public import Records

/// One transaction, encoded outside of the connection's thread. It may be executed again until it was applied.
public final class PreparedTransaction: @unchecked Sendable {
    // Licence for @unchecked: built by one task, then used by one `perform` at a time, for which that task waits; nothing in it
    // changes after `init` but what the connection's thread reads through the parameters.

    /// What becomes of the partitions' offsets.
    public let advances: [OffsetAdvance]
    /// What it is made of, to be halved or prepared anew.
    public let slices: [BatchSlice]
    /// Records whose offsets it makes durable.
    public let recordCount: Int
    /// Decoded events in it.
    public var eventCount: Int { sequence.count }
    /// Events that folding left out.
    public var superseded: Int { built.superseded }
    /// Statements it sends when nothing goes wrong, BEGIN and COMMIT included.
    public var statementCount: Int { built.statements.count + (faults == nil ? 3 : 4) }

    let sequence: EventSequence
    let built: BuiltStatements
    let advance: EncodedStatement
    /// Dead letters known before anything was sent.
    let faultLetters: [DeadLetter]
    let faults: EncodedStatement?

    init(
        advances: [OffsetAdvance], sequence: EventSequence, built: BuiltStatements, advance: EncodedStatement,
        faultLetters: [DeadLetter], faults: EncodedStatement?
    ) {
        self.advances = advances
        self.sequence = sequence
        self.built = built
        self.advance = advance
        self.faultLetters = faultLetters
        self.faults = faults
        slices = sequence.slices
        recordCount = slices.reduce(0) { $0 + $1.records.count }
    }

    /// Its partitions.
    public var partitions: [TopicPartition] { advances.map(\.source) }

    /// Memory that can be used again once it is done with.
    var arrays: [ParameterArray] {
        built.statements.flatMap(\.arrays) + advance.arrays + (faults?.arrays ?? [])
    }
}
