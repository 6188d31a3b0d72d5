// Decides when each event is due, independently of the responses (an open loop).

/// The schedule of a run. Times are nanoseconds of one monotonic clock.
///
/// Event number i is due at `start + i / rate`, whatever the outcome of earlier events. Latencies are measured from that time and not
/// from the sending, because a stalled server would otherwise hide its delay ("coordinated omission"). Without a rate an event is due
/// as soon as the sender is free.
struct ScheduleMachine: ~Copyable {
    /// How many events were handed to the sender.
    private(set) var issued: UInt64 = 0
    /// How long the schedule was suspended because of the worker's lag.
    private(set) var held: UInt64 = 0
    private static let grace: UInt64 = 1_000_000_000
    private let start: UInt64
    private let rate: Double
    private let limit: UInt64
    private let end: UInt64

    /// - Parameters:
    ///   - start: time of the first event.
    ///   - rate: events a second; 0: no schedule, as fast as possible.
    ///   - events: how many events the run has at most; `nil`: bounded by time only.
    ///   - duration: nanoseconds after which no event is due; `nil`: bounded by events only.
    init(start: UInt64, rate: Double, events: UInt64?, duration: UInt64?) {
        self.start = start
        self.rate = rate
        limit = events ?? .max
        end = duration.map { start + $0 } ?? .max
    }

    /// Whether events are sent as fast as possible.
    var hasNoRate: Bool { rate == 0 }

    /// How many events are due and not issued.
    func due(at now: UInt64) -> UInt64 {
        if rate == 0 { return now >= start && now < end ? limit - issued : 0 }
        let first = start + held
        let until = min(now, end - 1)
        guard until >= first else { return 0 }
        let due = min(UInt64(Double(until - first) * rate / 1e9) + 1, limit)
        return due > issued ? due - issued : 0
    }

    /// Issues the next event: its number, and the time it was due.
    mutating func issue(at now: UInt64) -> (index: UInt64, dueAt: UInt64) {
        let index = issued
        issued += 1
        return (index, rate == 0 ? now : dueTime(of: index))
    }

    /// Whether no further event will be due.
    func isFinished(at now: UInt64) -> Bool {
        issued >= limit || (now >= end && due(at: now) == 0)
    }

    /// Whether the end is so long ago that a sender which is late must give up.
    func isOverdue(at now: UInt64) -> Bool { end != .max && now >= end + Self.grace }

    /// The sender gave up. Counts all due events as issued and returns how many they are.
    mutating func gaveUp(at now: UInt64) -> UInt64 {
        let rest = rate == 0 ? 0 : due(at: now)
        issued += rest
        return rest
    }

    /// When to check again; `nil` where only the sender limits the rate.
    func nextDue() -> UInt64? { rate == 0 ? nil : min(dueTime(of: issued), end) }

    /// The load waited for the worker from `then` to `now`: events that were not due become due later by that time. The end stays.
    mutating func backlogWaited(from then: UInt64, to now: UInt64) {
        held += now - then
    }

    private func dueTime(of index: UInt64) -> UInt64 { start + held + UInt64(Double(index) * 1e9 / rate) }
}
