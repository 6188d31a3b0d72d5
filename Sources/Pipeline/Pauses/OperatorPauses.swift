// Names what an operator has paused: everything, a topic, or one partition.

public import Records

/// What an operator asked not to be read.
public struct OperatorPause: Sendable, Equatable {
    /// The topic; `nil`: every topic.
    public let topic: String?
    /// The partition of the topic; `nil`: every partition.
    public let partition: Int32?
    /// Why, in the operator's words.
    public let reason: String

    /// What an operator asked not to be read. A partition without a topic is a programmer error.
    public init(topic: String? = nil, partition: Int32? = nil, reason: String) {
        precondition(topic != nil || partition == nil, "a partition belongs to a topic")
        self.topic = topic
        self.partition = partition
        self.reason = reason
    }

    /// The partition must not be read.
    public func covers(_ source: TopicPartition) -> Bool {
        (topic == nil || topic == source.topic) && (partition == nil || partition == source.partition)
    }

    /// 0: everything, 1: a topic, 2: a partition.
    private var specificity: Int { (topic == nil ? 0 : 1) + (partition == nil ? 0 : 1) }

    fileprivate static func isBroader(_ a: OperatorPause, _ b: OperatorPause) -> Bool { a.specificity < b.specificity }
}

/// Everything that operators have paused for the group.
public struct OperatorPauses: Sendable, Equatable {
    /// What is paused. Entries may overlap: a partition is read when none covers it.
    public let all: [OperatorPause]

    /// Everything operators have paused.
    public init(_ all: [OperatorPause]) { self.all = all }

    /// Nothing is paused.
    public static let none = OperatorPauses([])

    /// Why a partition must not be read, by the most specific entry that covers it; `nil`: it may be.
    public func reason(for source: TopicPartition) -> String? {
        all.filter { $0.covers(source) }.max(by: OperatorPause.isBroader)?.reason
    }
}
