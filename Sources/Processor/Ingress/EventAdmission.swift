// Says how whoever limits the ingress is asked about the events of a batch.

import HTTPServer

/// One request's account with the limits. Asked on the HTTP server's loop thread only.
protocol EventAdmission: AnyObject, Sendable {
    /// `events` more of the request have arrived, `bytes` long together. `true`: they are admitted, all of them, and charged. `false`: each
    /// is to be asked about, and nothing has happened.
    func admitTogether(events: Int, bytes: Int) -> Bool

    /// `bytes` have arrived that are no event's: white space, or what is too large to be one. Not asked after a refusal.
    func admit(skipped bytes: Int) -> AdmissionVerdict

    /// What so many events would be answered if they came together now, charging nothing; `nil`: they would pass, or never could.
    func refusal(ofEvents events: Int, bytes: Int) -> EventAnswer?

    /// An event of `bytes` has arrived. Asked before it is looked at; an answer other than ``AdmissionVerdict/admitted`` has charged nothing.
    /// Not asked again after a refusal.
    func admit(bytes: Int) -> AdmissionVerdict
}

/// What becomes of an event.
enum AdmissionVerdict: Sendable {
    case admitted
    /// A limit is used up: this event and all that follow in the request get this answer (429), and are not produced.
    case refused(EventAnswer)
    /// It costs more than a limit ever allows: this event gets this answer (413), those that follow are asked about.
    case impossible(EventAnswer)
}

/// Opens accounts: one for each request with a batch.
protocol QuotaProvider: Sendable {
    /// - Parameters:
    ///   - head: says who the client is; valid during the call.
    ///   - name: the one that the client's token gives it; `nil`: none.
    func account(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission
}

/// Admits everything: there are no limits.
final class NoLimits: EventAdmission, QuotaProvider {
    func admitTogether(events: Int, bytes: Int) -> Bool { true }
    func admit(bytes: Int) -> AdmissionVerdict { .admitted }
    func admit(skipped bytes: Int) -> AdmissionVerdict { .admitted }
    func refusal(ofEvents events: Int, bytes: Int) -> EventAnswer? { nil }
    func account(for head: borrowing HTTPRequestHead, _ name: String?) -> any EventAdmission { self }
}
