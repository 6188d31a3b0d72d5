// Tracks, per partition, what is under way and what is durable; decides what credits to return.

public import Backpressure
public import Records

/// The offset ledger: per partition the applied offset, the batches under way after it, and the generation that tells work of this
/// assignment from work of an older one.
///
/// A partition belongs to one lane and keeps its order, so its batches become durable in the order they were received.
public struct OffsetLedgerMachine: ~Copyable {
    /// A partition as it was claimed.
    public struct Entry: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Its credit account.
        public let slot: Int
        /// Its lane.
        public let lane: Int
        /// Generation of the assignment.
        public let generation: UInt64
        /// Epoch of the claim.
        public let epoch: Int64
        /// First offset to apply.
        public let offset: Int64
        /// The fingerprint of the record before it; `nil`: not known.
        public var lastApplied: Int64?

        /// Where it is read from.
        var start: PartitionStart { PartitionStart(source: source, offset: offset, lastApplied: lastApplied) }
    }

    /// The credits that a finished batch returns.
    public struct Refund: Equatable, Sendable {
        /// The account they return to.
        public let slot: Int
        /// The account's generation.
        public let generation: UInt64
        /// What returns.
        public let credits: Credits
    }

    /// A partition as metrics and health show it.
    public struct Position: Sendable, Equatable {
        /// The partition as it was claimed.
        public let entry: Entry
        /// Whether it may be written; false while it is fenced or stopped.
        public let isValid: Bool
        /// Next offset to apply: everything before it is durable.
        public let applied: Int64
        /// The offset sent to the group last; `nil`: none yet.
        public let committed: Int64?
        /// One past the log's last record, as answered last or read since; at least `applied`. `nil`: not answered yet.
        public let end: Int64?
        /// Earliest timestamp under way, milliseconds since 1970; `nil`: nothing is under way, or it carries none.
        public let oldestTimestamp: Int64?
        /// What is under way.
        public let outstanding: Credits

        /// The log can be read up to here; below `end` while a transaction is open. `nil`: not known, or not asked.
        public var readableEnd: Int64?

        /// All that can be read is applied, and what is beyond it belongs to a transaction that is open.
        var waitsForTransaction: Bool {
            guard let readableEnd, let end else { return false }
            return settled >= readableEnd && end > readableEnd
        }

        /// No record before this offset is left to apply: `applied`, or beyond it where the log ends with transaction markers.
        public let settled: Int64

        /// The partition.
        public var source: TopicPartition { entry.source }
        /// Offsets that may still hold something to apply, never negative; `nil` where the end is not known.
        public var backlog: Int64? { end.map { Swift.max(0, $0 - settled) } }
    }

    private struct PendingBatch {
        let nextOffset: Int64
        let timestamp: Int64
        let credits: Credits
    }

    private struct Partition {
        var entry: Entry
        var isValid = true
        var applied: Int64
        var committed: Int64?
        var end: Int64?
        var readableEnd: Int64?
        var readTo: Int64?
        var outstanding = Credits.zero
        var pending: [PendingBatch] = []

        /// No record before this offset is left to apply. Where the partition may not be written, what was read was dropped.
        var settled: Int64 { isValid && pending.isEmpty ? Swift.max(applied, readTo ?? applied) : applied }
    }

    private var partitions: [TopicPartition: Partition] = [:]

    /// An empty ledger.
    public init() {}

    /// These partitions were assigned and claimed; they replace all others.
    public mutating func assigned(_ entries: [Entry]) {
        partitions = Dictionary(
            uniqueKeysWithValues: entries.map { ($0.source, Partition(entry: $0, applied: $0.offset)) })
    }

    /// One partition was claimed again under a new generation.
    public mutating func restarted(_ entry: Entry) {
        let old = partitions[entry.source]
        partitions[entry.source] = Partition(
            entry: entry, applied: entry.offset, committed: old?.committed, end: old?.end)
    }

    /// A partition must not be written any more under this generation. Returns whether it was valid until now.
    public mutating func invalidated(_ source: TopicPartition, generation: UInt64) -> Bool {
        guard let known = partitions[source], known.entry.generation == generation, known.isValid else { return false }
        partitions[source]?.isValid = false
        return true
    }

    /// Nothing may be written any more.
    public mutating func allInvalidated() {
        for source in partitions.keys { partitions[source]?.isValid = false }
    }

    /// A batch was read. Returns its entry, or `nil` where its generation is not the current one: then it must be dropped.
    public mutating func received(
        _ source: TopicPartition, generation: UInt64, nextOffset: Int64, timestamp: Int64, credits: Credits
    ) -> Entry? {
        guard let known = partitions[source], known.entry.generation == generation, known.isValid else { return nil }
        partitions[source]?.outstanding += credits
        partitions[source]?.pending.append(PendingBatch(nextOffset: nextOffset, timestamp: timestamp, credits: credits))
        return known.entry
    }

    /// The entry of work of this generation; `nil` where the work must be dropped.
    public func entry(_ source: TopicPartition, generation: UInt64) -> Entry? {
        guard let known = partitions[source], known.entry.generation == generation, known.isValid else { return nil }
        return known.entry
    }

    /// Everything received before `nextOffset` left the pipeline: durable, or dropped. Returns the credits to return, or `nil` where the
    /// generation is an older one: those credits went with their account.
    public mutating func completed(
        _ source: TopicPartition, generation: UInt64, nextOffset: Int64, isDurable: Bool
    ) -> Refund? {
        guard var known = partitions[source], known.entry.generation == generation else { return nil }
        var credits = Credits.zero
        let done = known.pending.prefix { $0.nextOffset <= nextOffset }.count
        for batch in known.pending[..<done] { credits += batch.credits }
        known.pending.removeFirst(done)
        known.outstanding -= credits
        if isDurable {
            precondition(nextOffset >= known.applied, "the applied offset of \(source) moved backwards")
            known.applied = nextOffset
        }
        partitions[source] = known
        return Refund(slot: known.entry.slot, generation: generation, credits: credits)
    }

    /// A batch that was not received has left the pipeline. Returns the credits to return, or `nil` where their account is gone.
    public func refused(_ source: TopicPartition, generation: UInt64, credits: Credits) -> Refund? {
        guard let known = partitions[source], known.entry.generation == generation else { return nil }
        return Refund(slot: known.entry.slot, generation: generation, credits: credits)
    }

    /// The log's end was read.
    public mutating func endRead(_ source: TopicPartition, end: Int64) { partitions[source]?.end = end }

    /// How far the logs can be read was asked; those that are missing are not known.
    public mutating func readableEndsRead(_ ends: [TopicPartition: Int64]) {
        for source in partitions.keys { partitions[source]?.readableEnd = ends[source] }
    }

    /// The log was read to its end, which is beyond the last record: transaction markers lie between.
    public mutating func endReached(_ source: TopicPartition, generation: UInt64, offset: Int64) {
        if partitions[source]?.entry.generation == generation { partitions[source]?.readTo = offset }
    }

    /// The offsets that the group has not been sent yet; they count as committed from now on.
    public mutating func takeOffsetsToCommit() -> [PartitionStart] {
        var offsets: [PartitionStart] = []
        for (source, known) in partitions where known.isValid && known.committed != known.settled {
            partitions[source]?.committed = known.settled
            offsets.append(PartitionStart(source: source, offset: known.settled))
        }
        return offsets.sorted { $0.source < $1.source }
    }

    /// The group did not take the offsets of these partitions: they are committed again, also where they do not move.
    public mutating func offsetCommitFailed(_ sources: [TopicPartition]) {
        for source in sources { partitions[source]?.committed = nil }
    }

    /// All partitions were given back.
    public mutating func released() { partitions = [:] }

    /// The assigned partitions.
    public var entries: [Entry] { partitions.values.map(\.entry).sorted { $0.source < $1.source } }

    /// Nothing is under way that may still be written.
    public var isDrained: Bool { partitions.values.allSatisfy { !$0.isValid || $0.pending.isEmpty } }

    /// Nothing of one partition is under way that may still be written.
    public func isDrained(_ source: TopicPartition) -> Bool {
        guard let known = partitions[source] else { return true }
        return !known.isValid || known.pending.isEmpty
    }

    /// Something of the partition was applied since it was claimed.
    public func hasProgressed(_ source: TopicPartition) -> Bool {
        partitions[source].map { $0.applied > $0.entry.offset } ?? false
    }

    /// All partitions as metrics and health show them.
    public var positions: [Position] {
        partitions.values.map { known in
            Position(
                entry: known.entry, isValid: known.isValid, applied: known.applied, committed: known.committed,
                // Records that were read after the answer show that the log has grown.
                end: known.end.map { Swift.max($0, known.applied, known.pending.last?.nextOffset ?? 0) },
                oldestTimestamp: known.pending.lazy.map(\.timestamp).filter { $0 >= 0 }.min(), outstanding: known.outstanding,
                readableEnd: known.readableEnd, settled: known.settled)
        }.sorted { $0.source < $1.source }
    }
}
