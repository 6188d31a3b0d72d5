// Asks the limits about the events of one batch.

import Admission
import HTTPServer

/// One request's account with the limits: its client is found once, each event is charged as it arrives.
final class ClientQuota: EventAdmission {
    private let limits: IngressLimits
    private let client: LimitKey

    init(_ limits: IngressLimits, _ client: LimitKey) {
        self.limits = limits
        self.client = client
    }

    func admitTogether(events: Int, bytes: Int) -> Bool { limits.chargeTogether(client, events: events, bytes: bytes) }

    func admit(bytes: Int) -> AdmissionVerdict { verdict(limits.charge(client, events: 1, bytes: bytes)) }

    func admit(skipped bytes: Int) -> AdmissionVerdict { verdict(limits.charge(client, events: 0, bytes: bytes)) }

    func refusal(ofEvents events: Int, bytes: Int) -> EventAnswer? {
        guard let refusal = limits.look(client, events: events, bytes: bytes), refusal.status == 429 else { return nil }
        return refusal.event
    }

    private func verdict(_ refusal: IngressLimits.Refusal?) -> AdmissionVerdict {
        guard let refusal else { return .admitted }
        return refusal.status == 413 ? .impossible(refusal.event) : .refused(refusal.event)
    }
}

extension IngressLimits: QuotaProvider {
    func account(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission {
        ClientQuota(self, client(of: head, name))
    }
}
