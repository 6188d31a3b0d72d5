// Decides at which offset a partition starts.

/// Chooses a partition's first offset. Pure.
enum StartPosition {
    /// The offsets that are known of a partition.
    struct Offsets: Equatable {
        /// The next offset in `sluice_offsets`.
        var stored: Int64?
        /// The offset the group committed to Kafka; asked for only where nothing is stored.
        var committed: Int64?
        /// The log's first offset.
        var beginning: Int64
        /// The log's end: one after its last offset.
        var end: Int64
        /// At the group's first start the partition was to begin at the log's end, which could not be learned.
        var isEndToCome = false
        /// The group has stored offsets of other partitions of the topic: this is not its first start.
        var isTopicKnown = false
        /// The log has another record before the stored offset than the one that was applied last.
        var isOtherLog = false
    }

    enum Decision: Equatable {
        /// Start here. `replacesStored`: what is stored of the record before the offset does not hold either. `skipped`: why the known
        /// offset is not used; to be logged as an error.
        case start(Int64, replacesStored: Bool, skipped: String?)
        /// Start here, at the offset that the group has committed, although nothing is stored; to be logged as a warning with the number
        /// of records `before` it, unless that is 0.
        case startCommitted(Int64, before: Int64)
        /// Start here, at the log's beginning: the partition was added to a topic that the group reads.
        case startAdded(Int64)
        /// The partition must not be read.
        case hold(reason: String)
    }

    static func decide(
        _ offsets: Offsets, reset: OffsetReset, firstStart: FirstStart = .committed, outOfRange: OutOfRange
    ) -> Decision {
        guard let known = offsets.stored ?? offsets.committed else {
            // What was produced before the group noticed the partition would be lost at the end of the log. With `error` nothing tells an
            // added partition from one that was held at the first start.
            if offsets.isTopicKnown, !offsets.isEndToCome, reset != .error { return .startAdded(offsets.beginning) }
            switch reset {
            case .earliest: return .start(offsets.beginning, replacesStored: false, skipped: nil)
            case .latest: return .start(offsets.end, replacesStored: false, skipped: nil)
            case .error:
                return .hold(
                    reason:
                        "There is no offset in sluice_offsets and none committed by the group, and kafka.auto_offset_reset is "
                        + "error; set it to earliest or latest.")
            }
        }
        if offsets.stored == nil, firstStart == .earliest {
            return .start(offsets.beginning, replacesStored: false, skipped: nil)
        }
        guard let fault = fault(of: known, offsets) else {
            guard offsets.stored != nil else { return .startCommitted(known, before: known - offsets.beginning) }
            // Retention has deleted the record before it: with that one the next claim would not get far.
            return .start(known, replacesStored: known == offsets.beginning, skipped: nil)
        }
        switch outOfRange {
        case .stop:
            return .hold(reason: "\(fault). Set kafka.offset_out_of_range to earliest or latest to continue.")
        case .earliest:
            return .start(offsets.beginning, replacesStored: offsets.stored != nil, skipped: fault)
        case .latest:
            return .start(offsets.end, replacesStored: offsets.stored != nil, skipped: fault)
        }
    }

    /// Why the log cannot be read from a known offset on; `nil`: it can.
    private static func fault(of known: Int64, _ offsets: Offsets) -> String? {
        let origin = offsets.stored != nil ? "stored" : "committed"
        if known < offsets.beginning {
            return "The \(origin) offset \(known) is older than the log, which begins at \(offsets.beginning): "
                + "\(offsets.beginning - known) records were deleted before they were applied"
        }
        if known > Swift.max(offsets.beginning, offsets.end) {
            return
                "The \(origin) offset \(known) is beyond the log's end \(offsets.end): the topic was probably deleted and created again"
        }
        return offsets.isOtherLog
            ? "The log has another record before the stored offset \(known) than the one that was applied last: the topic was probably "
                + "deleted and created again"
            : nil
    }
}
