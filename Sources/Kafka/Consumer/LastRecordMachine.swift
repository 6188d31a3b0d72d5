// Decides whether a partition's log is still the one that was read, by the record that was applied last.

/// A topic that was deleted and created again has other records at the same offsets, and nothing else shows it: librdkafka 2.0 knows no
/// topic ids. So reading begins at the record before the position, which was applied last. It is compared with what is known of it, and
/// dropped. Where the log does not hold it any more (compaction), nothing can be compared.
///
/// As everywhere after a begin, the first thing that comes from beyond is answered with one seek (see ``OffsetGuardMachine``).
struct LastRecordMachine: ~Copyable {
    /// What is known of the record.
    struct Record: Equatable {
        let offset: Int64
        let fingerprint: Int64
    }

    enum Action: Equatable {
        /// It is the record: compare it.
        case compare(fingerprint: Int64)
        /// Drop the element.
        case drop
        /// Seek there; drop the element.
        case seek(to: Int64)
        /// The log does not hold the record: the element is the first one behind it.
        case pass
    }

    private enum Phase {
        /// It has been compared, or cannot be.
        case done
        /// Reading was told to begin at the record.
        case awaited
        /// The same, a second time.
        case sought
        /// The log seemed to end before the record, and reading was told to begin behind it: if the log really ends there, the broker
        /// answers that the offset is out of range. A follower that lags may only show less than there is.
        case probing
    }

    private var record: Record?
    private var phase = Phase.done

    init(_ record: Record? = nil) {
        self.record = record
        if record != nil { phase = .awaited }
    }

    /// Nothing may be taken before the record has been compared.
    var isAwaited: Bool { phase != .done }

    /// The record's offset; `nil`: nothing is known.
    var offset: Int64? { record?.offset }

    /// Where reading begins, if the position is `offset`.
    func begin(before offset: Int64) -> Int64 { isAwaited ? self.offset ?? offset : offset }

    /// Records were taken; this is the last of them.
    mutating func taken(_ last: Record?) {
        record = last
        phase = .done
    }

    /// Reading begins anew. Between the record and the position are transaction markers at most.
    mutating func restarted() { phase = record == nil ? .done : .awaited }

    /// A record came while ``isAwaited``.
    mutating func observed(_ offset: Int64) -> Action {
        guard let record, offset >= record.offset else { return .drop }
        guard offset == record.offset else { return beyond(record) }
        phase = .done
        return .compare(fingerprint: record.fingerprint)
    }

    /// The end of the log came while ``isAwaited``.
    mutating func ended(at offset: Int64) -> Action {
        guard let record, offset >= record.offset else { return .drop }
        guard offset == record.offset else { return beyond(record) }
        phase = .probing
        return .seek(to: record.offset + 1)
    }

    private mutating func beyond(_ record: Record) -> Action {
        switch phase {
        case .awaited: phase = .sought
        case .probing: phase = .awaited
        case .sought, .done:
            taken(nil)
            return .pass
        }
        return .seek(to: record.offset)
    }
}
