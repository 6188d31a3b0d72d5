// What other parts may read of the assignment.

import Records

/// What the member is doing, in the words of health.
public enum AssignmentState: String, Sendable {
    case starting
    case waiting = "waiting for partitions"
    case claiming = "claiming partitions"
    case running
    case draining
    case ended
}

/// The assignment as metrics, health and the stall check see it; the assignment stage publishes it after each input.
struct PublishedAssignment: Sendable {
    var state = AssignmentState.starting
    /// Stopped partitions, with the reason.
    var stopped: [(source: TopicPartition, reason: StopReason)] = []
    /// Partitions that have not been claimed in this assignment, with the reason of the last failure; `nil`: the first claim is under
    /// way.
    var unclaimed: [(source: TopicPartition, reason: String?)] = []
}
