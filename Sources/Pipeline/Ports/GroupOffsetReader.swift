// The port to a consumer group's offsets, for a process that is not a member of it.

public import Records

/// An answer, and why a part of it is missing.
public struct PartialAnswer<Value: Sendable>: Sendable {
    /// What was answered.
    public var value: Value
    /// Why the rest was not, one reason for all; `nil`: nothing is missing.
    public var failure: String?

    /// An answer.
    public init(_ value: Value, failure: String? = nil) {
        self.value = value
        self.failure = failure
    }
}

/// Reads a group's offsets. Throws where nothing was answered.
public protocol GroupOffsetReader: Sendable {
    /// All partitions of these topics.
    func partitions(of topics: [String]) async throws -> PartialAnswer<[TopicPartition]>
    /// The group's committed offset and the log's end of each partition. Committed offsets are asked for first, so that the lag is
    /// rather too large than too small.
    func offsets(of partitions: [TopicPartition]) async throws -> PartialAnswer<[TopicPartition: GroupLagMachine.Answer]>
}
