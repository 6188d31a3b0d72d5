// Decides where a partition begins: what is stored, what the group committed, what the log still holds.

/// The decision about one partition's first offset. Pure.
struct StartPosition: Equatable {
    /// What is known about the partition.
    struct Facts: Equatable {
        /// The next offset in `sluice_offsets`.
        var stored: Int64?
        /// The offset the group committed to Kafka; asked for only where nothing is stored.
        var committed: Int64?
        /// The first offset the log has.
        var beginning: Int64
        /// One past the last.
        var end: Int64
    }

    enum Decision: Equatable {
        /// Begin here. `skipped`: a sentence about what was passed over, to be said loudly.
        case start(Int64, replacesStored: Bool, skipped: String?)
        /// The partition must not be read.
        case hold(reason: String)
    }

    static func decide(_ facts: Facts, reset: OffsetReset, outOfRange: OutOfRange) -> Decision {
        let known = facts.stored ?? facts.committed
        guard let known else {
            switch reset {
            case .earliest: return .start(facts.beginning, replacesStored: false, skipped: nil)
            case .latest: return .start(facts.end, replacesStored: false, skipped: nil)
            case .error:
                return .hold(
                    reason:
                        "There is no offset in sluice_offsets and none committed by the group, and kafka.auto_offset_reset is "
                        + "error; set it to earliest or latest.")
            }
        }
        if (facts.beginning...Swift.max(facts.beginning, facts.end)).contains(known) {
            return .start(known, replacesStored: false, skipped: nil)
        }
        let origin = facts.stored != nil ? "stored" : "committed"
        let what =
            known < facts.beginning
            ? "the \(origin) offset \(known) is older than the log, which begins at \(facts.beginning): "
                + "\(facts.beginning - known) records were deleted before they were applied"
            : "the \(origin) offset \(known) is beyond the log's end \(facts.end): the topic was probably created anew"
        switch outOfRange {
        case .stop:
            return .hold(
                reason: "The offset is outside of the log: \(what). Set kafka.offset_out_of_range to earliest or latest to go on."
            )
        case .earliest:
            return .start(facts.beginning, replacesStored: facts.stored != nil, skipped: what)
        case .latest:
            return .start(facts.end, replacesStored: facts.stored != nil, skipped: what)
        }
    }
}
