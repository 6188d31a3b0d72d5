// Decides when which event is due: an open loop, so a late answer never slows it.

/// The schedule of a run. Times are nanoseconds of one monotonic clock.
///
/// Event number i is due at `start + i / rate`, whatever became of the events before it; latencies are measured from that time
/// and not from the sending, else a stalled server would hide its own delay ("coordinated omission"). Without a rate an event is
/// due as soon as the sender is free.
struct ScheduleMachine: ~Copyable {
    /// Number of events handed to the sender.
    private(set) var issued: UInt64 = 0
    /// Time for which the schedule stood still because the backlog was too long.
    private(set) var held: UInt64 = 0
    private static let grace: UInt64 = 1_000_000_000
    private let start: UInt64
    private let rate: Double
    private let limit: UInt64
    private let end: UInt64

    /// - Parameters:
    ///   - start: time of the first event.
    ///   - rate: events a second; 0: as fast as it goes.
    ///   - events: most events of the run; `nil`: bounded by time only.
    ///   - duration: nanoseconds after which nothing is due any more; `nil`: bounded by events only.
    init(start: UInt64, rate: Double, events: UInt64?, duration: UInt64?) {
        self.start = start
        self.rate = rate
        limit = events ?? .max
        end = duration.map { start + $0 } ?? .max
    }

    /// As fast as it goes.
    var isUnpaced: Bool { rate == 0 }

    /// Events that may be sent now and have not been.
    func due(at now: UInt64) -> UInt64 {
        if rate == 0 { return now >= start && now < end ? limit - issued : 0 }
        let first = start + held
        let until = min(now, end - 1)
        guard until >= first else { return 0 }
        let due = min(UInt64(Double(until - first) * rate / 1e9) + 1, limit)
        return due > issued ? due - issued : 0
    }

    /// The next event's number and the time it was due, and counts it as handed over.
    mutating func issue(at now: UInt64) -> (index: UInt64, dueAt: UInt64) {
        let index = issued
        issued += 1
        return (index, rate == 0 ? now : dueTime(of: index))
    }

    /// Nothing more will become due.
    func isFinished(at now: UInt64) -> Bool {
        issued >= limit || (now >= end && due(at: now) == 0)
    }

    /// The end passed so long ago that a sender which still has not sent everything due must give up.
    func isOverdue(at now: UInt64) -> Bool { end != .max && now >= end + Self.grace }

    /// Counts everything that is still due as issued, and answers how many that are: they will not be sent.
    mutating func gaveUp(at now: UInt64) -> UInt64 {
        let rest = rate == 0 ? 0 : due(at: now)
        issued += rest
        return rest
    }

    /// When to check again; `nil` where only the sender limits the rate.
    func nextDue() -> UInt64? { rate == 0 ? nil : min(dueTime(of: issued), end) }

    /// The backlog was too long from `then` to `now`: what was not yet due then becomes due so much later. The end stays.
    mutating func backlogWaited(from then: UInt64, to now: UInt64) {
        held += now - then
    }

    private func dueTime(of index: UInt64) -> UInt64 { start + held + UInt64(Double(index) * 1e9 / rate) }
}
