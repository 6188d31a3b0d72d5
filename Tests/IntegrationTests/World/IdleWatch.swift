// Measures how long partitions get no record applied.

import TestSupport

/// Samples `sluice_offsets`, by default of all partitions, each of which must have a steady load.
///
/// A time ends when a sample with a higher offset has been answered, and begins when the last sample with a lower one was asked: so it is
/// never shorter than the true one, and longer by two intervals at most.
struct IdleWatch {
    private let isOver = Shared(false)
    private let task: Task<(longest: Duration, interval: Duration), any Error>

    init(_ world: World, partitions: Set<Int32>? = nil) {
        let isOver = isOver
        task = Task {
            let clock = ContinuousClock()
            var known: [Int32: (offset: Int64, since: ContinuousClock.Instant)] = [:]
            var (longest, interval) = (Duration.zero, Duration.zero)
            var previous = clock.now
            while !isOver.current {
                let asked = clock.now
                let offsets = try await world.offsets()
                let answered = clock.now
                for (partition, offset) in offsets where partitions?.contains(partition) != false {
                    guard let before = known[partition] else {
                        known[partition] = (offset, asked)
                        continue
                    }
                    longest = max(longest, answered - before.since)
                    if offset > before.offset { known[partition] = (offset, previous) }
                }
                interval = max(interval, answered - previous)
                previous = asked
                try await Task.sleep(for: .milliseconds(10))
            }
            guard known.count == partitions?.count ?? world.partitions else {
                throw Trouble("\(world.name): of \(known.count) partitions only there were offsets to watch")
            }
            return (longest, interval)
        }
    }

    /// Ends the watch. Returns the longest time in which a partition got no record applied, and prints it.
    func stop(_ title: String) async throws -> Duration {
        isOver.withLock { $0 = true }
        let (longest, interval) = try await task.value
        print("\(title): longest idle partition \(longest), sampled at least every \(interval)")
        return longest
    }
}
