// Owns the error type for everything that fails between Sluice and Kafka.

internal import CKafka

/// An error of Kafka, librdkafka or this module: its code, whether a retry can help, and a sentence that names the subject and
/// the remedy.
///
/// It never contains payloads or secrets.
public struct KafkaError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Kinds of errors.
    public enum Code: String, Sendable, CaseIterable {
        /// A setting is unknown, invalid, or one that Sluice sets itself.
        case configuration
        /// The topic or the partition does not exist.
        case unknownTopic
        /// The credentials are valid, but this action is not allowed.
        case notAuthorized
        /// The credentials or the TLS handshake were refused.
        case authentication
        /// No broker is reachable at the moment.
        case brokerUnreachable
        /// No answer came in time.
        case timedOut
        /// The position asked for lies outside the partition's log.
        case offsetOutOfRange
        /// The producer's bound of records or bytes in flight is reached.
        case queueFull
        /// The record is larger than the broker or the producer accepts.
        case recordTooLarge
        /// The broker found a batch of several records too large, which says nothing about a single one.
        case batchTooLarge
        /// The broker refuses the record, and would do so again; see ``refusals``.
        case refused
        /// Another process uses this member's `group.instance.id`, or a newer producer this producer's id.
        case fenced
        /// The client cannot be used any more for another reason and must be replaced.
        case fatal
        /// The group's generation, or the assignment, that the request was made in is over.
        case groupChanged
        /// The client was closed.
        case closed
        /// Anything else.
        case other
    }

    /// The kind of error.
    public let code: Code
    /// librdkafka's number: negative for its own errors, positive for a broker's, 0 for errors of this module.
    public let kafkaCode: Int32
    /// One sentence that names the subject and, where there is one, the remedy.
    public let message: String
    /// The same request may succeed later without a change of configuration.
    public let isRetriable: Bool
    /// For a produced record: the broker may have written it although the producer got no acknowledgement.
    public let mayBePersisted: Bool

    /// The message with Kafka's name of the error.
    public var description: String { kafkaCode == 0 ? message : "\(message) [\(name)]" }

    /// Kafka's name of the error, such as `INVALID_TIMESTAMP`; for an error of this module its ``code``.
    public var name: String { kafkaCode == 0 ? code.rawValue : KafkaError.name(of: kafkaCode) }

    /// What a broker answers to a record that it will never take: for its timestamp or a rule of the topic, or because broker and producer
    /// do not fit. (kafka.apache.org/protocol, "Error codes", those that cannot be retried and no other ``Code`` stands for.)
    private static let refusalCodes = [
        RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
        RD_KAFKA_RESP_ERR_INVALID_REQUEST, RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        RD_KAFKA_RESP_ERR_SECURITY_DISABLED, RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, RD_KAFKA_RESP_ERR_INVALID_RECORD,
    ]

    /// The names of the errors with the code ``Code/refused``.
    public static let refusals = refusalCodes.map { name(of: $0.rawValue) }

    /// An error of this module.
    public init(_ code: Code, _ message: String, isRetriable: Bool = false) {
        self.init(code: code, kafkaCode: 0, message: message, isRetriable: isRetriable, mayBePersisted: false)
    }

    init(code: Code, kafkaCode: Int32, message: String, isRetriable: Bool, mayBePersisted: Bool) {
        self.code = code
        self.kafkaCode = kafkaCode
        self.message = message
        self.isRetriable = isRetriable
        self.mayBePersisted = mayBePersisted
    }

    /// An error that librdkafka reported. Without `message` its own text is used.
    init(_ error: rd_kafka_resp_err_t, _ message: String? = nil, mayBePersisted: Bool = false) {
        let text = message ?? String(cString: rd_kafka_err2str(error))
        self.init(
            code: KafkaError.classify(error), kafkaCode: error.rawValue, message: text,
            isRetriable: KafkaError.isRetriable(error), mayBePersisted: mayBePersisted)
    }

    private static func name(of code: Int32) -> String {
        String(cString: rd_kafka_err2name(rd_kafka_resp_err_t(rawValue: code)))
    }

    private static func classify(_ error: rd_kafka_resp_err_t) -> Code {
        switch error {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
            RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
            .unknownTopic
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            .notAuthorized
        case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR__SSL, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
            .authentication
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__RESOLVE,
            RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
            .brokerUnreachable
        case RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
            .timedOut
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: .offsetOutOfRange
        case RD_KAFKA_RESP_ERR__QUEUE_FULL: .queueFull
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: .recordTooLarge
        case RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
            .fenced
        case RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
            .fatal
        case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST,
            RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
            .groupChanged
        case RD_KAFKA_RESP_ERR__DESTROY: .closed
        default: refusalCodes.contains(error) ? .refused : .other
        }
    }

    private static func isRetriable(_ error: rd_kafka_resp_err_t) -> Bool {
        switch classify(error) {
        case .brokerUnreachable, .timedOut, .queueFull, .groupChanged: return true
        case .other: break
        default: return false
        }
        switch error {
        // Brokers return these while leaders and replicas move; the purge and state codes appear while a producer is replaced.
        case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR__PURGE_QUEUE, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT,
            RD_KAFKA_RESP_ERR__STATE:
            return true
        default: return false
        }
    }
}
