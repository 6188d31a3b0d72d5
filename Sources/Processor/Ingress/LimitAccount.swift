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

    func admitTogether(events: Int, bytes: Int) -> Bool { limits.chargeTogether(client, events: events, bytes: bytes) }

    func admit(bytes: Int) -> AdmissionVerdict {
        guard let refusal = limits.charge(client, events: 1, bytes: bytes) else { return .admitted }
        return refusal.status == 413 ? .impossible(refusal.event) : .refused(refusal.event)
    }
}

extension IngressLimits: AdmissionDesk {
    func account(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission {
        LimitAccount(self, client(of: head, name))
    }
}
