// Charges the events of one batch to the rate limits.

import Admission
import HTTPServer

/// The quotas of one request's client, which is determined once; each event is charged as it arrives.
final class ClientQuota: EventAdmission {
    private let limits: IngressLimits
    private let client: RateLimitKey

    init(_ limits: IngressLimits, _ client: RateLimitKey) {
        self.limits = limits
        self.client = client
    }

    func admitTogether(events: Int, bytes: Int) -> Bool { limits.chargeTogether(client, events: events, bytes: bytes) }

    func admit(bytes: Int) -> AdmissionVerdict { verdict(limits.charge(client, events: 1, bytes: bytes)) }

    func admit(skipped bytes: Int) -> AdmissionVerdict { verdict(limits.charge(client, events: 0, bytes: bytes)) }

    func refusal(ofEvents events: Int, bytes: Int) -> ProblemDetails? {
        guard let refusal = limits.preview(client, events: events, bytes: bytes), refusal.status == 429 else { return nil }
        return refusal.problem
    }

    private func verdict(_ refusal: IngressLimits.Refusal?) -> AdmissionVerdict {
        guard let refusal else { return .admitted }
        return refusal.status == 413 ? .impossible(refusal.problem) : .refused(refusal.problem)
    }
}

extension IngressLimits: QuotaProvider {
    func quota(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission {
        ClientQuota(self, client(of: head, name))
    }
}
