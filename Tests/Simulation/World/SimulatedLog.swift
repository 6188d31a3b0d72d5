// The log of a schedule: per partition ascending offsets with legal gaps, and sizes.

import Records

/// Grows in bursts; records never change. A topic may be deleted and created again: then its partitions begin anew at offset 0, with other
/// records. (Here each partition is a topic of its own in this respect.)
struct SimulatedLog {
    struct Partition {
        /// How often it was made anew.
        var life: Int64 = 0
        /// It is deleted, and not created again yet.
        var isMissing = false
        var offsets: [Int64] = []
        var payloads: [Int32] = []
        /// Milliseconds since 1970.
        var timestamps: [Int64] = []
        /// The offset of the next record or marker.
        var end: Int64 = 0
    }

    private(set) var partitions: [Partition]
    /// The former logs of each partition, by their life.
    private var former: [[Partition]]

    init(partitions: Int) {
        self.partitions = Array(repeating: Partition(), count: partitions)
        former = Array(repeating: [], count: partitions)
    }

    mutating func delete(_ partition: Int) {
        let old = partitions[partition]
        former[partition].append(old)
        partitions[partition] = Partition(life: old.life + 1, isMissing: true)
    }

    mutating func create(_ partition: Int) { partitions[partition].isMissing = false }

    /// The log that a partition had in one of its lives.
    func partition(_ number: Int, life: Int64) -> Partition {
        partitions[number].life == life ? partitions[number] : former[number][Int(life)]
    }

    /// The content of a record: its key.
    static func value(_ offset: Int64, life: Int64) -> Int64 { life << 40 | offset }
    static func life(of value: Int64) -> Int64 { value >> 40 }

    /// Calls `body` with the bytes of a record's key and payload.
    func withRecord<R>(
        _ index: Int, in log: Partition, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> R
    ) -> R {
        withUnsafeBytes(of: Self.value(log.offsets[index], life: log.life).bigEndian) { key in
            withUnsafeTemporaryAllocation(byteCount: Int(log.payloads[index]), alignment: 8) { value in
                value.initializeMemory(as: UInt8.self, repeating: 0)
                return body(key, UnsafeRawBufferPointer(value))
            }
        }
    }

    func fingerprint(_ index: Int, in log: Partition) -> Int64 {
        withRecord(index, in: log) { Record.fingerprint(timestamp: log.timestamps[index], key: $0, value: $1) }
    }

    /// - Parameter now: milliseconds since 1970.
    mutating func append(
        _ count: Int, to partition: Int, at now: Int64, _ scenario: Scenario, _ random: inout SimulationRandom
    ) {
        // A log that was made anew has no gaps: at a missing offset no record tells it from the former one.
        let isFirst = partitions[partition].life == 0
        for _ in 0..<count {
            if isFirst, random.chance(scenario.gapShare) { partitions[partition].end += Int64(random.within(1...3)) }
            partitions[partition].offsets.append(partitions[partition].end)
            partitions[partition].timestamps.append(now)
            let isLarge = random.chance(scenario.largeShare)
            partitions[partition].payloads.append(Int32(isLarge ? scenario.largePayload : scenario.payload))
            partitions[partition].end += 1
        }
        if isFirst, random.chance(scenario.markerShare) { partitions[partition].end += 1 }
    }

    /// Index in the log of the first record at or after an offset.
    func index(of offset: Int64, in partition: Int, life: Int64? = nil) -> Int {
        let offsets = self.partition(partition, life: life ?? partitions[partition].life).offsets
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
