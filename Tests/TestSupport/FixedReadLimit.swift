// Owns the read limit of tests whose consumers need no credits.

public import Kafka

/// Allows the same number of records and bytes at every read, whatever was read before.
public struct FixedReadLimit: ReadLimit {
    private let records: Int
    private let bytes: Int

    /// 0 records: nothing is ever read.
    public init(records: Int = 50_000, bytes: Int = 64 << 20) { (self.records, self.bytes) = (records, bytes) }

    /// The fixed amount.
    public func allowance(slot: Int, generation: UInt64) -> (records: Int, bytes: Int) { (records, bytes) }
    /// Does nothing.
    public func spent(slot: Int, generation: UInt64, records: Int, bytes: Int) {}
}
