// The log of a schedule: per partition ascending offsets with legal gaps, and sizes.

import Records

/// Grows in bursts; records never change.
struct SimulatedLog {
    struct Partition {
        var offsets: [Int64] = []
        var payloads: [Int32] = []
        /// The offset of the next record or marker.
        var end: Int64 = 0
    }

    private(set) var partitions: [Partition]

    init(partitions: Int) { self.partitions = Array(repeating: Partition(), count: partitions) }

    mutating func append(_ count: Int, to partition: Int, _ scenario: Scenario, _ random: inout SimulationRandom) {
        for _ in 0..<count {
            if random.chance(scenario.gapShare) { partitions[partition].end += Int64(random.within(1...3)) }
            partitions[partition].offsets.append(partitions[partition].end)
            let isLarge = random.chance(scenario.largeShare)
            partitions[partition].payloads.append(Int32(isLarge ? scenario.largePayload : scenario.payload))
            partitions[partition].end += 1
        }
        if random.chance(scenario.markerShare) { partitions[partition].end += 1 }
    }

    /// Index in the log of the first record at or after an offset.
    func index(of offset: Int64, in partition: Int) -> Int {
        let offsets = partitions[partition].offsets
        var (low, high) = (0, offsets.count)
        while low < high {
            let middle = (low + high) / 2
            if offsets[middle] < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// One past the last record, or the marker of a transaction behind it.
    func end(_ partition: Int) -> Int64 { partitions[partition].end }

    /// Bytes of the largest possible record, key and payload.
    static func largest(_ scenario: Scenario) -> Int {
        scenario.batchOverhead + scenario.recordOverhead + 8
            + (scenario.largeShare > 0 ? Swift.max(scenario.payload, scenario.largePayload) : scenario.payload)
    }

    static func name(_ partition: Int) -> TopicPartition { TopicPartition("t", Int32(partition)) }
}
