// Says how a batch asks the rate limits about its events.

import HTTPServer

/// The quotas of one request's client. Called on the HTTP server's loop thread only.
protocol EventAdmission: AnyObject, Sendable {
    /// Charges `events` further events of the request, `bytes` together, if all of them pass.
    /// - Returns: `false`: nothing was charged; ask for each event.
    func admitTogether(events: Int, bytes: Int) -> Bool

    /// Charges bytes that belong to no event: white space, or an event that is too large. Not called after a refusal.
    func admit(skipped bytes: Int) -> AdmissionVerdict

    /// The answer if so many events were sent together now; charges nothing. `nil`: they would pass, or never can.
    func refusal(ofEvents events: Int, bytes: Int) -> ProblemDetails?

    /// Charges an event of `bytes`, before it is checked. A verdict other than ``AdmissionVerdict/admitted`` charges nothing. Not called
    /// after a refusal.
    func admit(bytes: Int) -> AdmissionVerdict
}

/// Whether an event may be produced.
enum AdmissionVerdict: Sendable {
    case admitted
    /// A quota is used up: this event and all that follow in the request get this answer (429).
    case refused(ProblemDetails)
    /// The event costs more than a policy ever allows: it gets this answer (413); those that follow are asked about.
    case impossible(ProblemDetails)
}

/// Makes one ``EventAdmission`` for each request with a batch.
protocol QuotaProvider: Sendable {
    /// - Parameters:
    ///   - head: identifies the client; valid during the call.
    ///   - name: of the client's token; `nil`: it has none.
    func quota(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission
}

/// Admits everything: no limits are configured.
final class NoLimits: EventAdmission, QuotaProvider {
    func admitTogether(events: Int, bytes: Int) -> Bool { true }
    func admit(bytes: Int) -> AdmissionVerdict { .admitted }
    func admit(skipped bytes: Int) -> AdmissionVerdict { .admitted }
    func refusal(ofEvents events: Int, bytes: Int) -> ProblemDetails? { nil }
    func quota(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission { self }
}
