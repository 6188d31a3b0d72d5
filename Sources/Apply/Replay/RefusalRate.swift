// Owns how many refused events a lane's next transaction is expected to have, by what its last ones had.

/// Counts the events of a lane's transactions, and those that were refused. Pure.
///
/// Where refusals are frequent, a transaction that is tried whole is mostly written in vain. So one in which they are expected is written
/// in pieces; see ``BisectionMachine``.
struct RefusalRate {
    /// Once so many events are counted, they count half as much as later ones.
    private static let remembered = 200_000.0

    private var events = 0.0
    private var refusals = 0.0

    /// A transaction was committed.
    mutating func committed(events: Int, refusals: Int) {
        self.events += Double(events)
        self.refusals += Double(refusals)
        guard self.events > Self.remembered else { return }
        self.events /= 2
        self.refusals /= 2
    }

    /// Refused events that a transaction of so many events is expected to have, where it is to be written in pieces; `nil`: it is tried
    /// whole.
    func expected(of count: Int, _ limits: BisectionLimits) -> Double? {
        guard refusals > 0, count / 4 >= limits.suspectEvents else { return nil }
        let expected = refusals / events * Double(count)
        return expected < limits.leastExpected ? nil : expected
    }
}
