// A fine histogram of durations for percentiles.

/// Durations counted in log-linear buckets: linear up to 2,048 ns, then 1,024 buckets for each doubling.
///
/// A percentile is at most 1/1024 (0.1 %) above the true value; count, least, greatest and mean are exact. Durations above ``limit``
/// (73 minutes) share the last bucket, whose percentile is the greatest duration. The buckets are those of G. Tene's HdrHistogram
/// (https://hdrhistogram.github.io/HdrHistogram/). A histogram takes 270 KB and has one owner at a time.
struct LatencyHistogram: Sendable {
    /// The longest duration with a bucket of its own, in nanoseconds.
    static let limit: UInt64 = (1 << 42) - 1

    private static let linearBits = 11
    private static let halfBits = linearBits - 1
    private static let bucketCount = index(of: limit) + 1

    private var counts = [UInt64](repeating: 0, count: bucketCount)
    private var sum: Double = 0
    /// Durations counted.
    private(set) var count: UInt64 = 0
    private var least = UInt64.max
    private var greatest: UInt64 = 0

    /// An empty histogram.
    init() {}

    /// Counts `count` durations of the same length.
    mutating func add(nanoseconds: UInt64, count: UInt64 = 1) {
        guard count > 0 else { return }
        counts[Self.index(of: Swift.min(nanoseconds, Self.limit))] += count
        self.count += count
        sum += Double(nanoseconds) * Double(count)
        least = Swift.min(least, nanoseconds)
        greatest = Swift.max(greatest, nanoseconds)
    }

    /// Adds everything `other` has counted.
    mutating func merge(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] += other.counts[index] }
        count += other.count
        sum += other.sum
        least = Swift.min(least, other.least)
        greatest = Swift.max(greatest, other.greatest)
    }

    /// The shortest duration, in nanoseconds; `nil` where nothing was counted.
    var min: UInt64? { count > 0 ? least : nil }

    /// The longest duration, in nanoseconds; `nil` where nothing was counted.
    var max: UInt64? { count > 0 ? greatest : nil }

    /// The arithmetic mean, in nanoseconds; `nil` where nothing was counted.
    var mean: Double? { count > 0 ? sum / Double(count) : nil }

    /// The duration, in nanoseconds, that `percent` of all durations do not exceed (nearest rank: 50 is the median, 100 the
    /// greatest); `nil` where nothing was counted.
    func percentile(_ percent: Double) -> UInt64? {
        precondition((0...100).contains(percent), "a percentile lies between 0 and 100")
        guard count > 0 else { return nil }
        let rank = Swift.max(1, UInt64((percent / 100 * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for (index, here) in counts.enumerated() where here > 0 {
            seen += here
            guard seen >= rank else { continue }
            return index == Self.bucketCount - 1 ? greatest : Swift.min(Self.highest(in: index), greatest)
        }
        return greatest
    }

    /// Values below 2^11 are their own bucket; above, the ten bits after the leading one number the buckets of an octave.
    private static func index(of value: UInt64) -> Int {
        let width = UInt64.bitWidth - value.leadingZeroBitCount
        let shift = Swift.max(0, width - linearBits)
        return (shift << halfBits) + Int(value >> UInt64(shift))
    }

    /// The greatest value that lies in a bucket.
    private static func highest(in index: Int) -> UInt64 {
        let shift = Swift.max(0, (index >> halfBits) - 1)
        let lead = UInt64(index - (shift << halfBits))
        return ((lead + 1) << UInt64(shift)) - 1
    }
}
