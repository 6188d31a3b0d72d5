// Owns the decision to stop a partition whose records are mostly bad, before they fill the dead-letter table.

public import Records
import Synchronization

/// When a partition stops for bad records.
public struct PoisonLimits: Sendable, Equatable {
    /// A partition does not stop with fewer records than this within the window, and fewer than this of all partitions, however long
    /// they took.
    public var leastRecords = 1_000
    /// The partition stops when more than this share of those records is bad.
    public var share = 0.5
    /// Length of the window in seconds.
    public var windowSeconds = 60.0

    /// The defaults: more than half of at least 1,000 records within a minute.
    public init() {}
}

/// The guard of one mapping, shared by its lanes.
public final class PoisonGuard: Sendable {
    let machine: Mutex<PoisonGuardMachine>

    /// Nothing was counted yet.
    public init(_ limits: PoisonLimits) { machine = Mutex(PoisonGuardMachine(limits)) }

    /// Changes the limits. What was counted stays counted.
    public func update(_ limits: PoisonLimits) { machine.withLock { $0.limitsChanged(to: limits) } }

    /// Starts the count of a partition that was claimed again at 0, if it was stopped.
    public func forget(_ source: TopicPartition) { machine.withLock { $0.forgotten(source) } }
}

/// Counts records and bad records twice: by partition over a sliding window of time, and of the whole mapping over its last records, so
/// that a topic with few records an hour stops as loudly as a busy one. Pure: time is passed in.
///
/// The window of time is a ring of 12 slots, the oldest of which counts in full: it spans between 11/12 of its length and all of it. The
/// last records are counted in slots of a tenth of ``PoisonLimits/leastRecords``.
public struct PoisonGuardMachine: ~Copyable {
    private struct Slot {
        var number: Int64
        var records = 0
        var bad = 0
    }

    private static let slots = 12
    private var limits: PoisonLimits
    private var windows: [TopicPartition: [Slot]] = [:]
    private var last: [Slot] = []
    private var stopped: Set<TopicPartition> = []

    /// Nothing was counted yet.
    public init(_ limits: PoisonLimits) { self.limits = limits }

    /// Why a partition must stop if these records are added; `nil`: it need not.
    /// - Parameter now: seconds on any monotonic clock.
    public mutating func verdict(_ source: TopicPartition, records: Int, bad: Int, at now: Double) -> String? {
        guard bad > 0 else { return nil }
        let oldest = number(now) - Int64(Self.slots) + 1
        let window = (windows[source] ?? []).filter { $0.number >= oldest }
        for (slots, place) in [(window, "\(source)"), (last, "all partitions")] {
            let all = slots.reduce(records) { $0 + $1.records }
            let allBad = slots.reduce(bad) { $0 + $1.bad }
            guard all >= limits.leastRecords, Double(allBad) > Double(all) * limits.share else { continue }
            stopped.insert(source)
            return "\(allBad) of the last \(all) records of \(place) could not be applied"
        }
        return nil
    }

    /// A partition does not stop after all.
    mutating func continued(_ source: TopicPartition) { stopped.remove(source) }

    /// A transaction with these records has been committed.
    public mutating func committed(_ source: TopicPartition, records: Int, bad: Int, at now: Double) {
        let number = number(now)
        var window = windows[source] ?? []
        window.removeAll { $0.number <= number - Int64(Self.slots) }
        if window.last?.number != number { window.append(Slot(number: number)) }
        window[window.count - 1].records += records
        window[window.count - 1].bad += bad
        windows[source] = window

        if last.last.map({ $0.records * 10 >= limits.leastRecords }) ?? true { last.append(Slot(number: 0)) }
        last[last.count - 1].records += records
        last[last.count - 1].bad += bad
        while last.reduce(0, { $0 + $1.records }) - last[0].records >= limits.leastRecords { last.removeFirst() }
    }

    /// The partition was claimed again. A stopped one starts again only because an operator, a rebalance or a restart wants it: counting begins anew.
    public mutating func forgotten(_ source: TopicPartition) {
        guard stopped.remove(source) != nil else { return }
        windows[source] = nil
        last = []
    }

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
