// Owns librdkafka's mock cluster: a Kafka broker inside this process, for the demo and for tests.

internal import CKafka
internal import Platform
internal import Synchronization
public import Telemetry

/// A Kafka cluster in memory that listens on loopback, for this process and others.
///
/// Each partition keeps its last 5 MiB only: limit producers by lag and use many partitions. It has no admin API, no static
/// membership, no authentication, and does not de-duplicate the records of idempotent producers. A group's first join takes 3 s,
/// later rebalances up to the session timeout.
public final class EmbeddedBroker: Sendable {
    /// Requests that can be made to fail, with Kafka's API keys.
    public enum Request: Int16, Sendable {
        case produce = 0
        case fetch = 1
        case initProducerID = 22
    }

    /// Default number of partitions of a topic: 160 MiB of log.
    public static let defaultPartitions = 32

    /// `host:port` of each broker, comma-separated.
    public let bootstrapServers: String
    private let state: Mutex<State?>

    /// The cluster and the client it runs in; the cluster must be destroyed first.
    private final class State: @unchecked Sendable {
        // Licence for @unchecked: every call of rdkafka_mock.h passes an operation to the cluster's own thread or takes its lock;
        // the mutex around `state` excludes calls during and after the destruction.
        let cluster: OpaquePointer
        let client: Client

        init(cluster: OpaquePointer, client: Client) {
            self.cluster = cluster
            self.client = client
        }

        deinit {
            rd_kafka_mock_cluster_destroy(cluster)
            client.destroy()
        }
    }

    private init(_ state: State) {
        bootstrapServers = String(cString: rd_kafka_mock_cluster_bootstraps(state.cluster))
        self.state = Mutex(state)
    }

    /// Starts a cluster with these topics on free ports.
    public static func start(
        topics: [(name: String, partitions: Int)], brokers: Int = 1, log: @escaping LogHandler = { _, _ in }
    ) throws(KafkaError) -> EmbeddedBroker {
        let configuration = ConfigurationHandle()
        try configuration.set("client.id", "sluice-broker")
        let client = try Client(RD_KAFKA_PRODUCER, configuration, KafkaClientConfiguration(bootstrapServers: "", log: log))
        guard let cluster = rd_kafka_mock_cluster_new(client.pointer, Int32(clamping: brokers)) else {
            throw KafkaError(.other, "the embedded broker cannot listen on loopback; check limits on open files and ports")
        }
        let broker = EmbeddedBroker(State(cluster: cluster, client: client))
        for topic in topics { try broker.createTopic(topic.name, partitions: topic.partitions) }
        return broker
    }

    /// Creates a topic, replicated to every broker. A topic that exists already is an error.
    public func createTopic(_ name: String, partitions: Int = EmbeddedBroker.defaultPartitions) throws(KafkaError) {
        let error = withCluster { rd_kafka_mock_topic_create($0, name, Int32(clamping: partitions), 1) }
        try EmbeddedBroker.check(error, "topic \(name) cannot be created")
    }

    /// Disconnects a broker (numbered from 1), or connects it again. Its log is kept.
    public func setBroker(_ number: Int = 1, isDown: Bool) throws(KafkaError) {
        let error = withCluster { cluster in
            isDown
                ? rd_kafka_mock_broker_set_down(cluster, Int32(clamping: number))
                : rd_kafka_mock_broker_set_up(cluster, Int32(clamping: number))
        }
        try EmbeddedBroker.check(error, "broker \(number) cannot be connected or disconnected")
    }

    /// Makes a broker the leader of a partition; `nil`: it has none.
    public func setLeader(of topic: String, partition: Int32, to number: Int?) throws(KafkaError) {
        let error = withCluster {
            rd_kafka_mock_partition_set_leader($0, topic, partition, Int32(clamping: number ?? -1))
        }
        try EmbeddedBroker.check(error, "the leader of \(topic) [\(partition)] cannot be changed")
    }

    /// Delays every response of a broker (numbered from 1).
    public func setRoundTrip(_ time: Duration, broker number: Int = 1) throws(KafkaError) {
        let error = withCluster { rd_kafka_mock_broker_set_rtt($0, Int32(clamping: number), Int32(clamping: time.milliseconds)) }
        try EmbeddedBroker.check(error, "broker \(number) cannot be delayed")
    }

    /// Makes the next requests of a kind fail, one with each of `codes` (Kafka's protocol numbers).
    public func fail(_ request: Request, with codes: [Int32]) {
        let errors = codes.map { rd_kafka_resp_err_t(rawValue: $0) }
        _ = withCluster { cluster in
            errors.withUnsafeBufferPointer {
                rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, $0.count, $0.baseAddress)
            }
            return RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Makes every request for a topic fail with one of Kafka's protocol numbers; 0 ends that.
    public func setTopicError(_ name: String, code: Int32) {
        _ = withCluster { cluster in
            rd_kafka_mock_topic_set_error(cluster, name, rd_kafka_resp_err_t(rawValue: code))
            return RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Stops the cluster and discards its log; blocks for some milliseconds. Later calls on it fail. Releasing the last reference
    /// does the same.
    public func stop() {
        let last = state.withLock { $0.take() }
        _ = consume last
    }

    private func withCluster(_ body: (OpaquePointer) -> rd_kafka_resp_err_t) -> rd_kafka_resp_err_t {
        state.withLock { state in
            guard let state else { return RD_KAFKA_RESP_ERR__DESTROY }
            return body(state.cluster)
        }
    }

    private static func check(_ error: rd_kafka_resp_err_t, _ what: String) throws(KafkaError) {
        guard error != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        throw KafkaError(error, "embedded broker: \(what): \(String(cString: rd_kafka_err2str(error)))")
    }
}
