// Decides which records of a partition are taken: librdkafka may repeat some after a rewind, or begin at another offset than it was told.

/// Checks one partition's offsets.
///
/// Within one fetch session a broker's answers are contiguous by protocol: offsets that are missing there have been compacted, or are
/// transaction markers. Only the first record after an assign, a seek or a resume may be at a wrong place, because librdkafka ignores a
/// seek in silence while it starts or stops a partition (`rd_kafka_toppar_seek` answers `__STATE`, and with a timeout of 0 to nobody).
/// So the first record beyond the expected offset is answered with one seek; what comes then is taken whatever its offset. The seek
/// takes effect: the record shows that the partition is being fetched, and `rd_kafka_seek_partitions` makes everything already queued
/// stale before it returns.
struct OffsetGuardMachine: ~Copyable {
    enum Action: Equatable {
        /// Take the record.
        case accept
        /// Take the record; the offsets before it are legally missing.
        case acceptGap
        /// The record was taken before.
        case drop
        /// Seek there; drop the record.
        case reseek(to: Int64)
    }

    enum EndAction: Equatable {
        /// Everything before the end was handed over.
        case none
        /// Seek there.
        case reseek(to: Int64)
        /// There is no record between the last one and the end.
        case report
    }

    /// How far librdkafka's position is known.
    private enum Trust {
        /// It was told to begin at ``expected``; nothing has come from there yet.
        case none
        /// It was told so a second time, because something had come from beyond.
        case sought
        /// A record, or the end, came from there: what follows is contiguous.
        case full
    }

    /// The offset the next record should have.
    private(set) var expected: Int64
    private var trust = Trust.none

    init(expected: Int64) { self.expected = expected }

    /// A record came.
    @inline(__always)
    mutating func observed(_ offset: Int64) -> Action {
        if offset == expected {
            expected = offset + 1
            trust = .full
            return .accept
        }
        if offset < expected { return .drop }
        guard trust != .none else {
            trust = .sought
            return .reseek(to: expected)
        }
        trust = .full
        expected = offset + 1
        return .acceptGap
    }

    /// The end of the log was reached at this offset. Offsets that are missing before it are treated as before a record.
    mutating func ended(at offset: Int64) -> EndAction {
        guard offset >= expected else { return .none }
        guard offset > expected else {
            trust = .full
            return .none
        }
        guard trust != .none else {
            trust = .sought
            return .reseek(to: expected)
        }
        trust = .full
        expected = offset
        return .report
    }

    /// What comes next is where reading was told to begin.
    /// - Parameter isCertain: the record before ``expected`` came. Otherwise the log does not hold it, and was asked for it twice.
    mutating func began(isCertain: Bool) { trust = isCertain ? .full : .sought }

    /// Reading continues at another offset, or anew at this one: librdkafka was told to begin there.
    mutating func moved(to offset: Int64) {
        expected = offset
        trust = .none
    }
}
