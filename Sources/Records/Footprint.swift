// Says what a batch takes in memory besides the bytes of its records: the one place where the sum is made.

/// What batches of a mapping are charged for.
///
/// A batch exists up to three times between the reader and the commit, and each time is counted in the same charged bytes:
///
/// | as | bytes | a record besides |
/// | --- | --- | --- |
/// | ``RecordBatch`` | those of the records | a ``Record`` |
/// | ``ChangeBatch`` | values are no longer than the events they come from | a ``Change`` and a ``Slice`` for each column |
/// | a transaction | ``copiesInTransaction`` times | an array element's length for each column; order, sorting, statement |
///
/// So ``perRecord`` is the larger of the first two, and the third fits into ``copiesInTransaction`` times the charge.
public struct Footprint: Sendable, Equatable {
    /// What a transaction takes at most as a multiple of its batches' charge: its parameter arrays and libpq's own copy of them, each
    /// of which may be twice as large as what it holds, because both grow by doubling.
    public static let copiesInTransaction = 4

    /// Bytes a batch is charged for besides its records: the objects, their arrays' headers, the smallest buffers with their padding
    /// and malloc's own. What a stream of single records costs.
    public static let perBatch = 768

    /// Bytes a record is charged for besides its key, payload and headers.
    public let perRecord: Int

    /// The footprint of a mapping's batches.
    /// - Parameter columns: cells a change has.
    public init(columns: Int) {
        perRecord = Swift.max(
            MemoryLayout<Record>.stride, MemoryLayout<Change>.stride + columns * MemoryLayout<Slice>.stride)
    }
}
