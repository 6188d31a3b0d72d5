// Models librdkafka 2.0.2 under the reader: version barriers, fetch states, and orders that are carried out later.

import Kafka
import Pipeline
import Records

/// What one client of librdkafka does between the calls of the reader and the brokers.
///
/// Three parties work on a partition, as there: the reader's thread raises the barrier with each order, which makes everything that is
/// queued stale at once; librdkafka's main thread carries out the orders one after the other, later; the brokers' threads notice a new
/// version before their next fetch. What is said in silence there is silent here: a seek that is refused, an error that a pause purges.
final class SimulatedLibrary: FetchPort {
    private enum Order {
        case start(FetchedPartition, Int64, version: Int)
        case stop(FetchedPartition, version: Int)
        case seek(FetchedPartition, Int64, version: Int)
        case pause(FetchedPartition, version: Int)
        case resume(FetchedPartition, version: Int)
        /// A broker has answered that the log does not hold the offset.
        case offsetLost(FetchedPartition)
    }

    private unowned let world: SimulatedWorld
    weak var source: SimulatedSource?
    private(set) var brokers: SimulatedBrokers!
    let partitions: [FetchedPartition]
    private var random: SimulationRandom
    private var orders: [Order] = []
    private var isServing = false
    private var started: [FetchedPartition] = []
    private var stopsAwaited = 0
    private var startsPending: [(FetchedPartition, Int64)] = []
    private var current: (partition: FetchedPartition, element: FetchedPartition.Element)?
    /// How often the reader has ordered a partition to be fetched from an offset: by an assignment or a seek.
    private(set) var begins = 0
    /// How often the reader has learnt that the log ends where it had ordered a partition to be fetched from.
    private(set) var endsAtBegin = 0

    init(world: SimulatedWorld, life: UInt64) {
        self.world = world
        random = SimulationRandom(seed: world.seed, stream: 40 + life)
        partitions = (0..<world.scenario.partitions).map { FetchedPartition($0) }
        brokers = SimulatedBrokers(world: world, library: self, life: life)
    }

    // MARK: The port

    var now: UInt64 { world.clock.now }

    func open(_ partition: TopicPartition) -> FetchedPartition { partitions[Int(partition.partition)] }

    func take(from queue: FetchedPartition) -> Fetched {
        queue.isSignalled = false
        current = nil
        if let kept = queue.kept.take() {
            current = (queue, kept)
        } else {
            while let element = queue.elements.popFirst() {
                brokers.wake(queue)
                if element.isStale(queue.barrier) { continue }
                current = (queue, element)
                break
            }
        }
        guard let element = current?.element else { return .nothing }
        switch element.content {
        case .record(let index, let life):
            let offset = world.log.partition(queue.number, life: life).offsets[index]
            queue.appOffset = offset + 1
            return .record(offset: offset)
        case .end(let offset):
            if offset == queue.beginOffset { endsAtBegin += 1 }
            return .end(offset: offset)
        case .offsetLost, .refused: return .error
        }
    }

    func copyRecord(to batch: RecordBatch) {
        guard case .record(let index, let life)? = current?.element.content else { preconditionFailure("no record was taken") }
        let log = world.log.partition(Int(batch.source.partition), life: life)
        world.log.withRecord(index, in: log) { key, value in
            batch.append(offset: log.offsets[index], timestamp: log.timestamps[index], key: key, value: value)
        }
    }

    var fingerprint: Int64 {
        guard let current, case .record(let index, let life) = current.element.content else {
            preconditionFailure("no record was taken")
        }
        return world.log.fingerprint(index, in: world.log.partition(current.partition.number, life: life))
    }

    func keepRecord(in queue: FetchedPartition) { queue.kept = current?.element }

    func dropKept(in queue: FetchedPartition) { queue.kept = nil }

    func error(of partition: TopicPartition, at offset: Int64) -> KafkaError {
        if case .offsetLost? = current?.element.content {
            return KafkaError(.offsetOutOfRange, "\(partition) at \(offset): retention has passed it")
        }
        return KafkaError(.notAuthorized, "\(partition) at \(offset): not authorised")
    }

    func length(of queue: FetchedPartition) -> Int { queue.elements.count }

    func assign(_ partitions: [(TopicPartition, Int64)]) -> KafkaError? {
        for partition in started {
            stopsAwaited += 1
            orders.append(.stop(partition, version: partition.raiseBarrier()))
        }
        started = []
        startsPending = partitions.map { (self.partitions[Int($0.0.partition)], $0.1) }
        begins += partitions.count
        if stopsAwaited == 0 { startPending() }
        serveLater()
        return nil
    }

    func unassign() { _ = assign([]) }

    func seek(_ offsets: [(TopicPartition, Int64)]) {
        begins += offsets.count
        for (source, offset) in offsets {
            let partition = partitions[Int(source.partition)]
            orders.append(.seek(partition, offset, version: partition.raiseBarrier()))
        }
        serveLater()
    }

    /// Returns when the order is carried out, and those before it, as `rd_kafka_pause_partitions` does.
    func pause(_ partitions: [TopicPartition]) {
        for source in partitions {
            let partition = self.partitions[Int(source.partition)]
            orders.append(.pause(partition, version: partition.raiseBarrier()))
        }
        serve()
    }

    func resume(_ partitions: [TopicPartition]) {
        for source in partitions {
            let partition = self.partitions[Int(source.partition)]
            orders.append(.resume(partition, version: partition.raiseBarrier()))
        }
        serve()
    }

    func isReachable(_ partition: TopicPartition) -> Bool { brokers.isReachable(Int(partition.partition)) }

    func report(_ event: ConsumerEvent) { source?.reported(event) }

    func publish(_ statistics: KafkaConsumerStatistics) {}

    // MARK: The main thread

    /// A broker has answered that the log does not hold the offset it was asked for.
    func offsetLost(_ partition: FetchedPartition) {
        orders.append(.offsetLost(partition))
        serveLater()
    }

    private func serveLater() {
        guard !isServing else { return }
        isServing = true
        world.clock.after(random.next() % (millisecond / 2)) { [weak self] in
            self?.isServing = false
            self?.serve()
        }
    }

    private func serve() {
        while !orders.isEmpty { carryOut(orders.removeFirst()) }
    }

    private func startPending() {
        for (partition, offset) in startsPending {
            started.append(partition)
            orders.append(.start(partition, offset, version: partition.raiseBarrier()))
        }
        startsPending = []
    }

    private func carryOut(_ order: Order) {
        switch order {
        case .start(let partition, let offset, let version):
            partition.version = version
            partition.begin(at: offset)
            brokers.wake(partition)
        case .stop(let partition, let version):
            partition.version = version
            partition.state = .stopped
            partition.appOffset = nil
            stopsAwaited -= 1
            if stopsAwaited == 0 { startPending() }
        case .seek(let partition, let offset, let version):
            guard partition.state == .active else { return world.coverage.met(.refusedSeeks) }
            partition.version = version
            partition.begin(at: offset)
            brokers.wake(partition)
        case .pause(let partition, let version):
            partition.version = version
            partition.isPaused = true
            if let offset = partition.appOffset { partition.nextOffset = offset }
            if partition.purge(before: version) { world.coverage.met(.purgedErrors) }
        case .resume(let partition, let version):
            partition.version = version
            partition.isPaused = false
            brokers.wake(partition)
        case .offsetLost(let partition):
            partition.state = .none
            enqueue(.offsetLost, version: 0, to: partition)
        }
    }

    /// Puts an element into a partition's queue. Wakes the reader's thread when the queue was empty: once, until it is read.
    func enqueue(_ content: FetchedPartition.Content, version: Int, to partition: FetchedPartition) {
        partition.elements.append(FetchedPartition.Element(content: content, version: version))
        guard partition.elements.count == 1, !partition.isSignalled else { return }
        partition.isSignalled = true
        source?.wake()
    }
}

/// One partition inside librdkafka (`rd_kafka_toppar_t`).
final class FetchedPartition {
    enum State {
        /// An error has ended fetching.
        case none
        case active, stopped
    }

    enum Content {
        /// By its index in the log.
        case record(Int, life: Int64)
        case end(Int64)
        case offsetLost
        case refused
    }

    struct Element {
        let content: Content
        /// 0: of no version, and never stale.
        let version: Int

        func isStale(_ barrier: Int) -> Bool { version != 0 && version < barrier }
    }

    let number: Int
    /// Elements of older versions are stale. Raised by the reader's thread.
    private(set) var barrier = 0
    var elements: ArraySlice<Element> = []
    var kept: Element?
    /// The reader's thread has been woken since the queue was read last.
    var isSignalled = false
    /// After the record that the reader has taken last.
    var appOffset: Int64?
    /// The last order that was carried out.
    var version = 0
    var state = State.stopped
    var isPaused = false
    var nextOffset: Int64 = 0
    /// Where the last order that was carried out began.
    private(set) var beginOffset: Int64?
    /// The broker thread's copy of version and offset, and the offset of its next fetch; `nil`: none.
    var fetchVersion = 0
    var lastNextOffset: Int64 = -1
    var fetchOffset: Int64?
    /// The end that was reported; once for each begin.
    var endReported: Int64?
    /// An error of the broker was reported; once for each begin.
    var isRefusalReported = false

    init(_ number: Int) { self.number = number }

    func raiseBarrier() -> Int {
        barrier += 1
        return barrier
    }

    func begin(at offset: Int64) {
        appOffset = nil
        beginOffset = offset
        nextOffset = offset
        state = .active
    }

    /// Removes the elements at the head of the queue that are older than a version, those without a version included. Returns whether an
    /// error was among them.
    func purge(before version: Int) -> Bool {
        var hasError = false
        while let first = elements.first, first.version < version {
            if case .offsetLost = first.content { hasError = true }
            elements.removeFirst()
        }
        return hasError
    }

    /// The broker thread looks for a new version before each fetch.
    func updateVersion() {
        guard version > fetchVersion || nextOffset != lastNextOffset || fetchOffset == nil else { return }
        fetchOffset = nextOffset
        lastNextOffset = nextOffset
        fetchVersion = version
        endReported = nil
        isRefusalReported = false
        _ = purge(before: version)
    }
}
