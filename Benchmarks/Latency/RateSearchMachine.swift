// Decides which rate is tried next on the way to the highest one that can be sustained.

/// Rates grow by half until one is too high or the most is reached, then three tries close in between the two.
struct RateSearchMachine: ~Copyable {
    private static let most = 500_000.0
    private static let least = 10_000.0
    private static let bisections = 3

    /// The rate to try; `nil` once there is nothing more to find out.
    private(set) var next: Double?
    /// The highest rate that was sustained.
    private(set) var best: Double?
    private var tooHigh: Double?
    private var left = Self.bisections

    init(first: Double) { next = first }

    /// The rate in ``next`` was tried.
    mutating func tried(keptUp: Bool) {
        guard let rate = next else { return }
        if keptUp { best = max(best ?? 0, rate) } else { tooHigh = min(tooHigh ?? .infinity, rate) }
        next = following()
    }

    private mutating func following() -> Double? {
        guard let tooHigh else { return best.flatMap { $0 * 1.5 <= Self.most ? $0 * 1.5 : nil } }
        guard let best else { return tooHigh / 2 >= Self.least ? tooHigh / 2 : nil }
        guard left > 0 else { return nil }
        left -= 1
        return (best * tooHigh).squareRoot()
    }
}
