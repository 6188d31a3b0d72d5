// Asks the limits about the events of one batch.

import Backpressure
import HTTPServer

/// One request's account with the limits: its client is found once, each event is charged as it arrives.
final class LimitAccount: EventAdmission {
    private let limits: IngressLimits
    private let client: LimitKey

    init(_ limits: IngressLimits, _ client: LimitKey) {
        self.limits = limits
        self.client = client
    }

    func admit(events: Int, bytes: Int) -> AdmissionVerdict {
        guard let refusal = limits.charge(client, events: events, bytes: bytes) else { return .admitted }
        let isImpossible = refusal.status == 413
        let answer = EventAnswer(
            status: refusal.status, detail: refusal.detail, members: refusal.members,
            retryAfter: isImpossible ? nil : refusal.retryAfter)
        return isImpossible ? .impossible(answer) : .refused(answer)
    }
}

extension IngressLimits: AdmissionDesk {
    func account(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission {
        LimitAccount(self, client(of: head, name))
    }
}
