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
    }

    enum Decision: Equatable {
        /// Start here. `skipped`: why the known offset is not used; to be logged as an error.
        case start(Int64, replacesStored: Bool, skipped: String?)
        /// Start here, at the log's beginning: the partition was added to a topic that the group reads.
        case startAdded(Int64)
        /// The partition must not be read.
        case hold(reason: String)
    }

    static func decide(_ offsets: Offsets, reset: OffsetReset, outOfRange: OutOfRange) -> Decision {
        let known = offsets.stored ?? offsets.committed
        guard let known else {
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
        if (offsets.beginning...Swift.max(offsets.beginning, offsets.end)).contains(known) {
            return .start(known, replacesStored: false, skipped: nil)
        }
        let origin = offsets.stored != nil ? "stored" : "committed"
        let reason =
            known < offsets.beginning
            ? "the \(origin) offset \(known) is older than the log, which begins at \(offsets.beginning): "
                + "\(offsets.beginning - known) records were deleted before they were applied"
            : "the \(origin) offset \(known) is beyond the log's end \(offsets.end): the topic was probably deleted and created again"
        switch outOfRange {
        case .stop:
            return .hold(
                reason:
                    "The offset is outside of the log: \(reason). Set kafka.offset_out_of_range to earliest or latest to continue."
            )
        case .earliest:
            return .start(offsets.beginning, replacesStored: offsets.stored != nil, skipped: reason)
        case .latest:
            return .start(offsets.end, replacesStored: offsets.stored != nil, skipped: reason)
        }
    }
}
