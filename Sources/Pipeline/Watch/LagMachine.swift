// Knows how old the oldest unapplied record of each partition is, also while nothing of the partition is under way.

import Backpressure
public import Records

/// The age of each partition's oldest unapplied record.
///
/// Two sources are combined. What is under way carries its timestamps: exact, as far as the producer's clock is. For what is not yet read
/// there is a history of (when seen, end offset): the first mark whose end lies behind the applied offset says when that record was
/// seen to be there. That is a lower bound of its age: too small by at most one interval between the questions, and by a tenth of the age
/// or so once the history is thinned. A record that was there before this worker first asked counts from that first answer until it
/// is read.
///
/// While the oldest record stays the same, its age only grows: each source may make it older, none younger.
public struct LagMachine: ~Copyable {
    /// Marks a partition keeps at most: 2 KiB. A day of steady growth asked for every second is then known to about a tenth of each age.
    public static let capacity = 128

    private struct Mark {
        let seen: UInt64
        let end: Int64
    }

    private struct Partition {
        /// The last answer, or where there is none the moment the partition was first looked at.
        var answered: UInt64
        var lastEnd: Int64?
        /// Ascending in both members.
        var marks: [Mark] = []
        var applied: Int64?
        /// When the record at `applied` came to be, on the monotonic clock; negative where it is older than the clock.
        var oldest: Int64?
    }

    private var partitions: [TopicPartition: Partition] = [:]

    /// Nothing is known yet.
    public init() {}

    /// The ends of these partitions are asked for at `now`, monotonic nanoseconds; all others are forgotten.
    public mutating func asked(_ sources: [TopicPartition], now: UInt64) {
        var kept: [TopicPartition: Partition] = [:]
        for source in sources { kept[source] = partitions[source] ?? Partition(answered: now) }
        partitions = kept
    }

    /// The log's end was read at `now`, monotonic nanoseconds.
    public mutating func endRead(_ source: TopicPartition, end: Int64, now: UInt64) {
        var known = partitions[source] ?? Partition(answered: now)
        known.answered = now
        if let last = known.lastEnd, end < last {
            // The topic was made anew: what was seen belongs to another log.
            known.marks = []
            known.oldest = nil
        }
        if known.lastEnd == nil || end != known.lastEnd { known.marks.append(Mark(seen: now, end: end)) }
        known.lastEnd = end
        if known.marks.count > Self.capacity { Self.thin(&known.marks, now: now) }
        partitions[source] = known
    }

    /// The partition was looked at. Answers the age of its oldest unapplied record in nanoseconds: 0 where it is caught up, `nil` where
    /// neither its end nor anything under way is known.
    /// - Parameters:
    ///   - now: monotonic nanoseconds.
    ///   - wallMilliseconds: the same moment in milliseconds since 1970, to compare with the records' timestamps.
    public mutating func sampled(
        _ position: OffsetLedgerMachine.Position, now: UInt64, wallMilliseconds: Int64
    ) -> UInt64? {
        var known = partitions[position.source] ?? Partition(answered: now)
        defer { partitions[position.source] = known }
        if known.applied != position.settled {
            known.applied = position.settled
            known.oldest = nil
            known.marks.removeFirst(known.marks.prefix { $0.end <= position.settled }.count)
        }
        if position.outstanding.records <= 0 {
            guard let backlog = position.backlog else { return nil }
            guard backlog > 0 else {
                known.oldest = nil
                return 0
            }
        }
        // It is there now, whatever else is known.
        var since = Swift.min(known.oldest ?? .max, Int64(now))
        if let mark = known.marks.first(where: { $0.end > position.settled }) { since = Swift.min(since, Int64(mark.seen)) }
        if let timestamp = position.oldestTimestamp, timestamp < wallMilliseconds {
            let age = (wallMilliseconds - timestamp).multipliedReportingOverflow(by: 1_000_000)
            since = Swift.min(since, Int64(now) - (age.overflow ? .max / 2 : age.partialValue))
        }
        known.oldest = since
        return UInt64(Int64(now) - since)
    }

    /// How long ago the partition's end was answered last, nanoseconds; where it never was, since it was first asked for.
    public func answerAge(of source: TopicPartition, now: UInt64) -> UInt64 {
        guard let answered = partitions[source]?.answered, now > answered else { return 0 }
        return now - answered
    }

    /// Takes out the mark that is missed least: the one between the two that are closest in relation to their age. So marks become
    /// sparser with age, and the error stays a share of the age.
    private static func thin(_ marks: inout [Mark], now: UInt64) {
        var least = Double.infinity
        var index = 1
        for at in 1..<marks.count - 1 {
            let gap = Double(marks[at + 1].seen - marks[at - 1].seen) / Double(now - marks[at + 1].seen + 1_000_000_000)
            // At equal loss the older one.
            if gap < least { (least, index) = (gap, at) }
        }
        marks.remove(at: index)
    }
}
