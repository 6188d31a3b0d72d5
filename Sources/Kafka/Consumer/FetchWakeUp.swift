// Owns the thread that wakes librdkafka's broker threads while drained queues wait for records.

internal import CKafka
internal import Dispatch
internal import Records
internal import Synchronization

/// Asks for end offsets of the waiting partitions every few milliseconds, on the fetching handle: each request wakes the broker
/// thread, which then also fetches. Measured: 400 k instead of 84 k records/s within the same memory (librdkafka#2879, #1377).
final class FetchWakeUp: Sendable {
    private static let interval = DispatchTimeInterval.milliseconds(10)
    private static let timeout: Int32 = 500

    private struct State {
        var wanted: [TopicPartition] = []
        var isStopped = false
    }
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let kicked: @Sendable () -> Void

    /// - Parameter kicked: called after each kick, from the kicker's thread.
    private init(kicked: @escaping @Sendable () -> Void) { self.kicked = kicked }

    /// Starts the thread. ``stop()`` must be called before the client is destroyed.
    static func start(_ client: Client, kicked: @escaping @Sendable () -> Void) throws(KafkaError) -> FetchWakeUp {
        let kicker = FetchWakeUp(kicked: kicked)
        try OwnedThread.start("kafka-kicker") { kicker.run(client) }
        return kicker
    }

    /// Sets the partitions to kick for; none: the thread sleeps.
    func want(_ partitions: [TopicPartition]) {
        let wasIdle = state.withLock { state in
            defer { state.wanted = partitions }
            return state.wanted.isEmpty
        }
        if wasIdle, !partitions.isEmpty { wake.signal() }
    }

    /// Ends the thread and waits for it: at most the time-out of one request.
    func stop() {
        state.withLock { $0.isStopped = true }
        wake.signal()
        ended.wait()
    }

    private func run(_ client: Client) {
        while true {
            let (wanted, isStopped) = state.withLock { ($0.wanted, $0.isStopped) }
            if isStopped { break }
            if wanted.isEmpty {
                wake.wait()
                continue
            }
            // librdkafka sends one request to each leader; the answer is of no interest.
            let list = PartitionListHandle(wanted, offset: Int64(RD_KAFKA_OFFSET_END))
            rd_kafka_offsets_for_times(client.pointer, list.pointer, FetchWakeUp.timeout)
            kicked()
            _ = wake.wait(timeout: .now() + FetchWakeUp.interval)
        }
        ended.signal()
    }
}
