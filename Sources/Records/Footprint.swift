// Computes the memory of a batch in addition to the bytes of its records.

/// The bytes that batches of a mapping are charged.
///
/// A batch exists in up to three forms between the poll thread and the commit, each of which is charged the same number of bytes:
///
/// | form | bytes | in addition, per record |
/// | --- | --- | --- |
/// | ``RecordBatch`` | those of the records | a ``Record`` |
/// | ``ChangeBatch`` | values are no longer than the events they come from | a ``Change`` and a ``Slice`` for each column |
/// | a transaction | ``copiesInTransaction`` times | an array element's length for each column; order, sorting, statement |
///
/// So ``perRecord`` is the larger of the first two, and the third fits into ``copiesInTransaction`` times the charge.
public struct Footprint: Sendable, Equatable {
    /// Maximum memory of a transaction as a multiple of its batches' charge: its parameter arrays and libpq's copy of them. Each
    /// may be twice as large as its content, because both grow by doubling.
    public static let copiesInTransaction = 4

    /// Bytes a batch is charged in addition to its records: its objects, the headers of their arrays, the smallest buffers with
    /// their padding, and malloc's overhead. They matter for batches of single records.
    public static let perBatch = 768

    /// Bytes a record is charged in addition to its key, payload and headers.
    public let perRecord: Int

    /// The footprint of a mapping's batches.
    /// - Parameter columns: number of cells of a change.
    public init(columns: Int) {
        perRecord = Swift.max(
            MemoryLayout<Record>.stride, MemoryLayout<Change>.stride + columns * MemoryLayout<Slice>.stride)
    }
}
