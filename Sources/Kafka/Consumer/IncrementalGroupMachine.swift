// Turns a group's incremental rebalances into whole ones.

internal import Records

/// With the protocol `consumer` (KIP-848) a group gives and takes single partitions. The consumer's user knows whole assignments only:
/// a change takes back all partitions of this member, and gives those that it has then. Other members are not concerned.
///
/// The group's answers: what it gives is answered at once, what it takes once the user has let go of everything.
struct IncrementalGroupMachine: ~Copyable {
    /// What the user is told.
    enum Report: Equatable {
        case assigned([TopicPartition])
        case revoked([TopicPartition], isLost: Bool)
    }

    private enum User {
        /// It has nothing, and may be given an assignment.
        case idle
        /// It was given these.
        case assigned([TopicPartition])
        /// It was told to let go.
        case revoked
    }

    private var user = User.idle
    /// What the group has given and not taken.
    private var owned: Set<TopicPartition> = []

    /// The group gave partitions.
    mutating func assigned(_ partitions: [TopicPartition]) -> Report? {
        owned.formUnion(partitions)
        return changed(isLost: false)
    }

    /// The group takes partitions.
    /// - Returns: what the user is told, and whether the group gets its answer now.
    mutating func revoked(_ partitions: [TopicPartition], isLost: Bool) -> (report: Report?, isAnswerDue: Bool) {
        owned.subtract(partitions)
        if case .idle = user { return (nil, true) }
        return (changed(isLost: isLost), false)
    }

    /// The coordinator is connected, and the group has been silent since: it does not tell a member that it has nothing for it.
    mutating func waited() -> Report? {
        if case .idle = user { changed(isLost: false) } else { nil }
    }

    /// The user has let go of everything.
    mutating func unassigned() -> Report? {
        guard case .revoked = user else { return nil }
        user = .idle
        return changed(isLost: false)
    }

    /// The user was told to let go and has not done so: an assignment that it makes is late.
    var isRevoking: Bool {
        if case .revoked = user { true } else { false }
    }

    private mutating func changed(isLost: Bool) -> Report? {
        switch user {
        case .idle:
            let partitions = owned.sorted()
            user = .assigned(partitions)
            return .assigned(partitions)
        case .assigned(let partitions):
            user = .revoked
            return .revoked(partitions, isLost: isLost)
        case .revoked:
            // It need not take its time any more.
            return isLost ? .revoked([], isLost: true) : nil
        }
    }
}
