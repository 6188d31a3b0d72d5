// Names what an operator's request is about, and what is kept of it.

import HTTPServer
import Pipeline

/// What a request is about: everything, a topic, or one partition of a topic.
struct PauseScope: Sendable, Equatable, CustomStringConvertible {
    /// `nil`: every topic.
    var topic: String?
    /// `nil`: every partition. Never without a topic.
    var partition: Int32?

    /// `other` is the same or a part of this.
    func contains(_ other: PauseScope) -> Bool {
        (topic == nil || topic == other.topic) && (partition == nil || partition == other.partition)
    }

    var description: String {
        guard let topic else { return "everything" }
        return partition.map { "\(topic)[\($0)]" } ?? "topic \(topic)"
    }
}

/// A pause as it is kept.
struct StoredPause: Sendable, Equatable {
    let scope: PauseScope
    let reason: String
    /// Who asked for it.
    let pausedBy: String
    /// RFC 3339, UTC.
    let pausedAt: String

    /// The same, as the pipeline wants it.
    var operatorPause: OperatorPause { OperatorPause(topic: scope.topic, partition: scope.partition, reason: reason) }

    var json: JSONValue {
        [
            "topic": scope.topic.map(JSONValue.string) ?? nil,
            "partition": scope.partition.map { .integer(Int($0)) } ?? nil,
            "reason": .string(reason), "paused_by": .string(pausedBy), "paused_at": .string(pausedAt),
        ]
    }
}
