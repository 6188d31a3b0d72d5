// The port to time: the pipeline has no clock of its own.

/// Time as the pipeline sees it. Tests pass one that moves by hand.
public protocol PipelineClock: Sendable {
    /// Monotonic nanoseconds.
    var now: UInt64 { get }
    /// Milliseconds since 1970, to compare with the records' timestamps.
    var wallMilliseconds: Int64 { get }
    /// Returns at the monotonic instant `deadline`, nanoseconds; throws `CancellationError`.
    func sleep(until deadline: UInt64) async throws
    /// A number in 0..<1, for jitter.
    func random() -> Double
}
