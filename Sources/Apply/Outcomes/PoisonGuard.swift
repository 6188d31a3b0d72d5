// Owns the decision to stop a partition whose records are mostly bad, before they fill the dead-letter table.

public import Records

/// When a partition stops for bad records.
public struct PoisonLimits: Sendable, Equatable {
    /// A partition with fewer records within the window does not stop.
    public var leastRecords = 1_000
    /// The partition stops when more than this share of the window's records is bad.
    public var share = 0.5
    /// Length of the window in seconds.
    public var windowSeconds = 60.0

    /// The defaults: more than half of at least 1,000 records within a minute.
    public init() {}
}

/// Counts records and bad records by partition over a sliding window. Pure: time is passed in.
///
/// The window is a ring of 12 slots, the oldest of which counts in full: it spans between 11/12 of its length and all of it.
public struct PoisonGuardMachine: ~Copyable {
    private struct Slot {
        var number: Int64
        var records = 0
        var bad = 0
    }

    private static let slots = 12
    private var limits: PoisonLimits
    private var windows: [TopicPartition: [Slot]] = [:]

    /// Nothing was counted yet.
    public init(_ limits: PoisonLimits) { self.limits = limits }

    /// Why a partition must stop if these records are added; `nil`: it need not.
    /// - Parameter now: seconds on any monotonic clock.
    public func verdict(_ source: TopicPartition, records: Int, bad: Int, at now: Double) -> String? {
        let oldest = number(now) - Int64(Self.slots) + 1
        var records = records
        var allBad = bad
        for slot in windows[source] ?? [] where slot.number >= oldest {
            records += slot.records
            allBad += slot.bad
        }
        guard bad > 0, records >= limits.leastRecords, Double(allBad) > Double(records) * limits.share else { return nil }
        return "\(allBad) of the last \(records) records of \(source) could not be applied"
    }

    /// A transaction with these records has been committed.
    public mutating func committed(_ source: TopicPartition, records: Int, bad: Int, at now: Double) {
        let number = number(now)
        var window = windows[source] ?? []
        window.removeAll { $0.number <= number - Int64(Self.slots) }
        if window.last?.number != number { window.append(Slot(number: number)) }
        window[window.count - 1].records += records
        window[window.count - 1].bad += bad
        windows[source] = window
    }

    /// The partition was claimed again.
    public mutating func forgotten(_ source: TopicPartition) { windows[source] = nil }

    /// The limits were changed. What was counted stays counted: where the window has another length, each slot is added to the new slot
    /// that its beginning lies in.
    public mutating func limitsChanged(to limits: PoisonLimits) {
        let stretch = self.limits.windowSeconds / limits.windowSeconds
        self.limits = limits
        guard stretch != 1 else { return }
        for (source, window) in windows {
            var moved: [Slot] = []
            for slot in window {
                let number = Int64((Double(slot.number) * stretch).rounded(.down))
                if moved.last?.number != number { moved.append(Slot(number: number)) }
                moved[moved.count - 1].records += slot.records
                moved[moved.count - 1].bad += slot.bad
            }
            windows[source] = moved
        }
    }

    private func number(_ now: Double) -> Int64 { Int64((now * Double(Self.slots) / limits.windowSeconds).rounded(.down)) }
}
