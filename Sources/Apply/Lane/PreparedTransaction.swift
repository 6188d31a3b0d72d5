// Owns a transaction that is ready to be sent: statements with their parameters, dead letters and new offsets.

import Postgres
public import Records
public import SluiceTables

/// One transaction, encoded on the caller's task. It may be executed again until it was applied.
public final class PreparedTransaction: @unchecked Sendable {
    // Licence for @unchecked: built by one task, then used by one `perform` at a time, for which that task waits; nothing in it
    // changes after `init`.

    /// How it moves the partitions' applied offsets.
    public let advances: [OffsetAdvance]
    /// The records that it writes.
    public let slices: [BatchSlice]
    /// Records whose offsets it makes durable.
    public let recordCount: Int
    /// Decoded events in it.
    public var eventCount: Int { sequence.count }
    let sequence: EventSequence
    /// Empty where refusals are expected.
    let built: BuiltStatements
    /// Refused events that it is expected to have, where it is written in pieces from the start; `nil`: it is tried whole.
    let expectedRefusals: Double?
    let advance: EncodedStatement
    /// Dead letters of records that could not be decoded, or are beyond a column's limits; and their INSERT.
    let faults: [DeadLetter]
    let faultStatement: EncodedStatement?
    /// How the server would refuse a value that is beyond its column's limit, where that is to make no dead letter.
    let refusal: PostgresError?
    /// Row statements were made for the table as the plan knows it, or records were refused by its columns.
    let dependsOnTable: Bool

    init(
        slices: [BatchSlice], advances: [OffsetAdvance], recordCount: Int, sequence: EventSequence, built: BuiltStatements,
        expectedRefusals: Double?, advance: EncodedStatement, faults: [DeadLetter], faultStatement: EncodedStatement?,
        refusal: PostgresError?, dependsOnTable: Bool
    ) {
        self.slices = slices
        self.advances = advances
        self.sequence = sequence
        self.built = built
        self.expectedRefusals = expectedRefusals
        self.advance = advance
        self.faults = faults
        self.faultStatement = faultStatement
        self.refusal = refusal
        self.dependsOnTable = dependsOnTable
        self.recordCount = recordCount
    }

    /// Its partitions.
    public var partitions: [TopicPartition] { advances.map(\.source) }

    var arrays: [ParameterArray] {
        built.arrays + advance.arrays + (faultStatement?.arrays ?? [])
    }
}
