// Holds what a row of `sluice_pauses` says.

/// What a pause covers: everything, a topic, or one partition of a topic.
public struct PauseScope: Sendable, Equatable, CustomStringConvertible {
    /// `nil`: every topic.
    public let topic: String?
    /// `nil`: every partition. Never without a topic.
    public let partition: Int32?

    /// A scope; without arguments, everything.
    public init(topic: String? = nil, partition: Int32? = nil) {
        self.topic = topic
        self.partition = partition
    }

    /// `other` is the same or a part of this.
    public func contains(_ other: PauseScope) -> Bool {
        (topic == nil || topic == other.topic) && (partition == nil || partition == other.partition)
    }

    /// `everything`, `topic messages` or `messages[3]`.
    public var description: String {
        guard let topic else { return "everything" }
        return partition.map { "\(topic)[\($0)]" } ?? "topic \(topic)"
    }
}

/// A pause that is stored.
public struct StoredPause: Sendable, Equatable {
    /// What is paused.
    public let scope: PauseScope
    /// Why, in the operator's words.
    public let reason: String
    /// Who asked for it.
    public let pausedBy: String
    /// RFC 3339, UTC.
    public let pausedAt: String
}
