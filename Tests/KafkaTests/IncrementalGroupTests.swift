// Tests how incremental rebalances of a group become whole ones for the consumer's user.

import Records
import Testing

@testable import Kafka

@Suite struct IncrementalGroupTests {
    private static func list(_ numbers: Int32...) -> [TopicPartition] { numbers.map { TopicPartition("t", $0) } }

    // #expect copies what it looks into.
    private func isRevoking(_ group: borrowing IncrementalGroupMachine) -> Bool { group.isRevoking }

    @Test func whatIsGivenTakesBackWhatTheUserHas() {
        var group = IncrementalGroupMachine()
        #expect(group.assigned(Self.list(2, 1)) == .assigned(Self.list(1, 2)))
        #expect(isRevoking(group) == false)
        #expect(group.assigned(Self.list(0)) == .revoked(Self.list(1, 2), isLost: false))
        #expect(isRevoking(group) == true)
        // More of it while the user lets go.
        #expect(group.assigned(Self.list(3)) == nil)
        #expect(group.unassigned() == .assigned(Self.list(0, 1, 2, 3)))
        #expect(isRevoking(group) == false)
    }

    @Test func whatIsTakenIsAnsweredOnceTheUserHasLetGo() {
        var group = IncrementalGroupMachine()
        _ = group.assigned(Self.list(0, 1, 2))
        let taken = group.revoked(Self.list(1), isLost: false)
        #expect(taken.report == .revoked(Self.list(0, 1, 2), isLost: false) && !taken.isAnswerDue)
        // The answer to the second one is the same.
        let more = group.revoked(Self.list(2), isLost: false)
        #expect(more.report == nil && !more.isAnswerDue)
        // The member is not in the group any more: what the user still drains is another member's by now.
        let lost = group.revoked([], isLost: true)
        #expect(lost.report == .revoked([], isLost: true) && !lost.isAnswerDue)
        #expect(group.unassigned() == .assigned(Self.list(0)))
        let rest = group.revoked(Self.list(0), isLost: true)
        #expect(rest.report == .revoked(Self.list(0), isLost: true))
        // As with the other protocol a member without partitions is a member.
        #expect(group.unassigned() == .assigned([]))
    }

    @Test func aMemberForWhichTheGroupHasNothingIsToldSoOnce() {
        var group = IncrementalGroupMachine()
        #expect(group.waited() == .assigned([]))
        #expect(group.waited() == nil)
        #expect(group.assigned(Self.list(4)) == .revoked([], isLost: false))
        #expect(group.waited() == nil)
        #expect(group.unassigned() == .assigned(Self.list(4)))
        #expect(group.waited() == nil)
    }

    @Test func whatTheUserNeverHadIsAnsweredAtOnce() {
        var group = IncrementalGroupMachine()
        let taken = group.revoked(Self.list(1), isLost: true)
        #expect(taken.report == nil && taken.isAnswerDue)
        #expect(group.unassigned() == nil)
        #expect(group.assigned([]) == .assigned([]))
        #expect(group.assigned(Self.list(1)) == .revoked([], isLost: false))
        // It lets go twice: the second time concerns nothing.
        #expect(group.unassigned() == .assigned(Self.list(1)))
        #expect(group.unassigned() == nil)
        #expect(isRevoking(group) == false)
    }
}
