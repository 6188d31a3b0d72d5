// Owns the decision that a partition is mostly poison and has to stop before the dead-letter table fills with it.

public import Records

/// When a partition counts as poisoned.
public struct PoisonLimits: Sendable, Equatable {
    /// Fewer records than this within the window prove nothing.
    public var leastRecords = 1_000
    /// The partition stops when more than this share of the window's records is bad.
    public var share = 0.5
    /// How far back is looked, in seconds.
    public var windowSeconds = 60.0

    /// The defaults: more than half of at least 1,000 records within a minute.
    public init() {}
}

/// Counts records and bad records by partition over a sliding window. Pure: time is passed in.
///
/// The window is a ring of 12 slots, the oldest of which counts in full: what is looked back on is between 11/12 of the window
/// and the whole of it.
public struct PoisonGuardMachine: ~Copyable {
    private struct Slot {
        var number: Int64
        var records = 0
        var bad = 0
    }

    private static let slots = 12
    private var limits: PoisonLimits
    private var windows: [TopicPartition: [Slot]] = [:]

    /// Nothing counted yet.
    public init(_ limits: PoisonLimits) { self.limits = limits }

    /// Whether a partition would be mostly poison with these records added; then how much of it, in words.
    /// - Parameter now: seconds on any clock that only goes forward.
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

    /// The partition is no longer ours, or somebody has decided that it goes on.
    public mutating func forgotten(_ source: TopicPartition) { windows[source] = nil }

    /// The limits were changed. What was counted stays counted: where the window has another length, each slot goes to the one that its
    /// beginning lies in now.
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
