// Computes the wait before the next try: exponential growth with a cap and jitter over the upper half.

/// Exponential back-off. The wait before try `n` (from 0) is `initial · 2ⁿ`, at most `maximum`, of which the upper half is random:
/// so retries of several workers spread out, and none is immediate.
public struct Backoff: Sendable, Equatable {
    /// Wait before the first retry, nanoseconds.
    public var initial: UInt64
    /// Longest wait, nanoseconds.
    public var maximum: UInt64

    /// - Parameters:
    ///   - initial: wait before the first retry, nanoseconds.
    ///   - maximum: longest wait, nanoseconds.
    public init(initial: UInt64, maximum: UInt64) {
        self.initial = initial
        self.maximum = Swift.max(initial, maximum)
    }

    /// The wait before retry `attempt` (0 is the first), nanoseconds.
    /// - Parameter random: a number in 0..<1, drawn by the caller.
    public func delay(attempt: Int, random: Double) -> UInt64 {
        // At 2^40 × 1 ns every cap is reached; a larger shift would overflow.
        let grown = initial.multipliedReportingOverflow(by: 1 << UInt64(Swift.min(Swift.max(attempt, 0), 40)))
        let full = grown.overflow ? maximum : Swift.min(grown.partialValue, maximum)
        return full / 2 + UInt64(Double(full - full / 2) * random)
    }
}
