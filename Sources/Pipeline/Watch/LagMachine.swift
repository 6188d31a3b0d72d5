// Estimates the age of each partition's oldest unapplied record, also while nothing of the partition is under way.

import Backpressure
import Records

/// The age of each partition's oldest unapplied record.
///
/// Two sources are combined. Records under way carry their timestamps: exact, as far as the producer's clock is. For records that are
/// not read yet there is a history of (when seen, end offset): the first mark whose end is beyond the applied offset tells when that
/// record was first seen. That is a lower bound of its age: too small by at most one interval between the questions, and by a tenth of
/// the age or so once the history is thinned. A record that was there before the first question counts from that answer until it is
/// read.
///
/// While the oldest record stays the same, its age only grows: each source may raise it, none may lower it.
struct LagMachine: ~Copyable {
    /// Marks a partition keeps at most: 2 KiB. After a day of steady growth, sampled every second, each age is known to about a tenth.
    static let capacity = 128

    private struct Mark {
        let seen: UInt64
        let end: Int64
    }

    private struct Partition {
        /// When its end was last answered; where it never was, when the partition was first sampled.
        var answered: UInt64
        var lastEnd: Int64?
        /// Ascending in both members.
        var marks: [Mark] = []
        var settled: Int64?
        /// When the record at `settled` was produced, on the monotonic clock; negative where it is older than the clock.
        var oldest: Int64?
    }

    private var partitions: [TopicPartition: Partition] = [:]

    /// The ends of these partitions are asked for at `now`, monotonic nanoseconds; all others are forgotten.
    mutating func asked(_ sources: [TopicPartition], now: UInt64) {
        var kept: [TopicPartition: Partition] = [:]
        for source in sources { kept[source] = partitions[source] ?? Partition(answered: now) }
        partitions = kept
    }

    /// The log's end was read at `now`, monotonic nanoseconds.
    mutating func endRead(_ source: TopicPartition, end: Int64, now: UInt64) {
        var known = partitions[source] ?? Partition(answered: now)
        known.answered = now
        if let last = known.lastEnd, end < last {
            // The topic was created anew: the marks belong to another log.
            known.marks = []
            known.oldest = nil
        }
        if known.lastEnd == nil || end != known.lastEnd { known.marks.append(Mark(seen: now, end: end)) }
        known.lastEnd = end
        if known.marks.count > Self.capacity { Self.thin(&known.marks, now: now) }
        partitions[source] = known
    }

    /// The partition was sampled. Returns the age of its oldest unapplied record in nanoseconds: 0 where it is caught up, `nil` where its
    /// end is not known and nothing is under way.
    /// - Parameters:
    ///   - now: monotonic nanoseconds.
    ///   - wallMilliseconds: the same moment in milliseconds since 1970, to compare with the records' timestamps.
    mutating func sampled(
        _ sample: PartitionSample, now: UInt64, wallMilliseconds: Int64
    ) -> UInt64? {
        var known = partitions[sample.source] ?? Partition(answered: now)
        defer { partitions[sample.source] = known }
        if known.settled != sample.settled {
            known.settled = sample.settled
            known.oldest = nil
            known.marks.removeFirst(known.marks.prefix { $0.end <= sample.settled }.count)
        }
        if !sample.isUnderWay {
            guard let backlog = sample.backlog else { return nil }
            guard backlog > 0 else {
                known.oldest = nil
                return 0
            }
        }
        // A record that is there now was produced by now.
        var since = Swift.min(known.oldest ?? .max, Int64(now))
        if let mark = known.marks.first(where: { $0.end > sample.settled }) { since = Swift.min(since, Int64(mark.seen)) }
        if let timestamp = sample.oldestTimestamp, timestamp < wallMilliseconds {
            let age = (wallMilliseconds - timestamp).multipliedReportingOverflow(by: 1_000_000)
            since = Swift.min(since, Int64(now) - (age.overflow ? .max / 2 : age.partialValue))
        }
        known.oldest = since
        return UInt64(Int64(now) - since)
    }

    /// Time since the partition's end was last answered, nanoseconds; where it never was, since it was first requested.
    func answerAge(of source: TopicPartition, now: UInt64) -> UInt64 {
        guard let answered = partitions[source]?.answered, now > answered else { return 0 }
        return now - answered
    }

    /// Removes the mark whose neighbours are closest in relation to their age. So marks become sparser with age, and the error stays a
    /// share of the age.
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
