// The brokers of a schedule, and librdkafka's thread for each of them: they fetch what the partitions have room for.

import Records

/// Partition p is led by broker p modulo their number. A fetch carries each partition's version; an answer to an older version is dropped.
final class SimulatedBrokers {
    private struct Broker {
        var isDown = false
        var isWoken = false
        var isFetching = false
        /// Raised when it goes down: answers of before are lost.
        var life = 0
    }

    private struct Request {
        let partition: FetchedPartition
        let version: Int
    }

    private unowned let world: SimulatedWorld
    private unowned let library: SimulatedLibrary
    private var random: SimulationRandom
    private var brokers: [Broker]
    /// By partition: has no leader; is refused; the next fetch is answered "offset out of range"; when it may be fetched again after an error.
    private var isLeaderless: [Bool]
    private var isRefused: [Bool]
    private var isOffsetLost: [Bool]
    private var backoff: [UInt64]

    init(world: SimulatedWorld, library: SimulatedLibrary, life: UInt64) {
        self.world = world
        self.library = library
        random = SimulationRandom(seed: world.seed, stream: 50 + life)
        let count = world.scenario.partitions
        brokers = Array(repeating: Broker(), count: world.scenario.brokers)
        isLeaderless = Array(repeating: false, count: count)
        isRefused = Array(repeating: false, count: count)
        isOffsetLost = Array(repeating: false, count: count)
        backoff = Array(repeating: 0, count: count)
    }

    // MARK: Faults

    /// A broker cannot be reached for a while.
    func fail(broker number: Int, for duration: UInt64) {
        let number = number % brokers.count
        guard !brokers[number].isDown else { return }
        world.coverage.met(.brokersDown)
        world.note(.fault, 30, number, "broker \(number) is away for \(duration / millisecond) ms")
        brokers[number].isDown = true
        brokers[number].life += 1
        world.clock.after(duration) { [weak self] in self?.restore(broker: number) }
    }

    /// A partition has no leader for a while.
    func loseLeader(of partition: Int, for duration: UInt64) {
        world.note(.fault, 31, partition, "\(SimulatedLog.name(partition)) has no leader for \(duration / millisecond) ms")
        isLeaderless[partition] = true
        world.clock.after(duration) { [weak self] in self?.restore(partition: partition) }
    }

    /// A partition may not be read for a while.
    func refuse(_ partition: Int, for duration: UInt64) {
        world.note(.fault, 32, partition, "\(SimulatedLog.name(partition)) may not be read for \(duration / millisecond) ms")
        isRefused[partition] = true
        world.clock.after(duration) { [weak self] in self?.restore(partition: partition) }
    }

    /// The next fetch of a partition finds its offset out of range. (Its records are there again afterwards: losing them is not a matter of
    /// the reader.)
    func loseOffset(of partition: Int) {
        world.note(.fault, 33, partition, "\(SimulatedLog.name(partition)): the offset will be out of range")
        isOffsetLost[partition] = true
        wake(library.partitions[partition])
    }

    /// No more faults.
    func heal() {
        for number in brokers.indices { restore(broker: number) }
        for partition in isLeaderless.indices {
            isOffsetLost[partition] = false
            restore(partition: partition)
        }
    }

    private func restore(broker number: Int) {
        guard brokers[number].isDown else { return }
        brokers[number].isDown = false
        brokers[number].isFetching = false
        wake(number)
    }

    private func restore(partition: Int) {
        isLeaderless[partition] = false
        isRefused[partition] = false
        wake(library.partitions[partition])
    }

    func isReachable(_ partition: Int) -> Bool {
        !isLeaderless[partition] && !world.log.partitions[partition].isMissing && !brokers[partition % brokers.count].isDown
    }

    // MARK: Fetching

    /// New records are in the log.
    func logGrew() { for number in brokers.indices { wake(number) } }

    /// A partition may have become fetchable.
    func wake(_ partition: FetchedPartition) { wake(partition.number % brokers.count) }

    private func wake(_ number: Int) {
        guard !brokers[number].isDown, !brokers[number].isFetching, !brokers[number].isWoken else { return }
        brokers[number].isWoken = true
        world.clock.after(random.next() % millisecond) { [weak self] in self?.fetch(number) }
    }

    private func fetch(_ number: Int) {
        brokers[number].isWoken = false
        guard !brokers[number].isDown, !brokers[number].isFetching else { return }
        var requests: [Request] = []
        for partition in library.partitions where partition.number % brokers.count == number && isFetchable(partition) {
            requests.append(Request(partition: partition, version: partition.fetchVersion))
        }
        guard !requests.isEmpty else { return }
        brokers[number].isFetching = true
        let life = brokers[number].life
        world.clock.after(random.next() % (2 * millisecond)) { [weak self] in
            guard let self, brokers[number].life == life, !brokers[number].isDown else { return }
            brokers[number].isFetching = false
            for request in requests { answer(request) }
            wake(number)
        }
    }

    private func isFetchable(_ partition: FetchedPartition) -> Bool {
        guard partition.state == .active, !isLeaderless[partition.number], !world.log.partitions[partition.number].isMissing
        else { return false }
        partition.updateVersion()
        guard !partition.isPaused, partition.elements.count < world.scenario.prefetch,
            world.clock.now >= backoff[partition.number],
            let offset = partition.fetchOffset
        else { return false }
        // A fetch with nothing to answer stays open at the broker.
        return isRefused[partition.number]
            ? !partition.isRefusalReported
            : offset < world.log.end(partition.number)
                || partition.endReported != offset || isOffsetLost[partition.number]
    }

    private func answer(_ request: Request) {
        let (partition, number) = (request.partition, request.partition.number)
        guard request.version == partition.fetchVersion, let offset = partition.fetchOffset else { return }
        if world.log.partitions[number].isMissing { return }
        if isRefused[number] {
            if !partition.isRefusalReported { library.enqueue(.refused, version: request.version, to: partition) }
            partition.isRefusalReported = true
            return backOff(partition)
        }
        if isOffsetLost[number] || offset > world.log.end(number) {
            isOffsetLost[number] = false
            partition.fetchOffset = nil
            library.offsetLost(partition)
            return backOff(partition)
        }
        let log = world.log.partitions[number]
        let first = world.log.index(of: offset, in: number)
        let last = Swift.min(log.offsets.count, first + random.within(1...world.scenario.fetch))
        if first < last {
            for index in first..<last { library.enqueue(.record(index, life: log.life), version: request.version, to: partition) }
            partition.fetchOffset = log.offsets[last - 1] + 1
        } else if offset < log.end {
            // Markers of transactions.
            partition.fetchOffset = log.end
        } else if partition.endReported != offset {
            partition.endReported = offset
            library.enqueue(.end(offset), version: request.version, to: partition)
        }
    }

    private func backOff(_ partition: FetchedPartition) {
        backoff[partition.number] = world.clock.now + 3 * millisecond
        world.clock.after(3 * millisecond) { [weak self] in self?.wake(partition) }
    }
}
