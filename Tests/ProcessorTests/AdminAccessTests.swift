// Proves who may use the operator's routes, and what their bodies may say.

import Testing

@testable import sluice

@Suite struct AdminAccessTests {
    private let token = "0123456789abcdef"

    private func sender(_ authorization: String?, peer: String = "127.0.0.1", host: String? = "localhost:8000")
        -> AdminAccess.Sender
    {
        AdminAccess.Sender(authorization: authorization, peer: peer, host: host)
    }

    private func isForbidden(_ decision: AdminAccess.Decision) -> Bool {
        if case .forbidden(let sentence) = decision { sentence.contains("SLUICE_HTTP_ADMIN_TOKEN_FILE") } else { false }
    }

    @Test(arguments: [true, false]) func aTokenDecidesAloneWhereThereIsOne(isBoundToLoopback: Bool) {
        let access = AdminAccess(token: token, isBoundToLoopback: isBoundToLoopback)
        #expect(access.decide(sender("Bearer \(token)", peer: "10.0.0.7", host: "sluice:8000")) == .admitted(as: "admin_token"))
        #expect(access.decide(sender("bearer  \(token)")) == .admitted(as: "admin_token"))
        #expect(access.decide(sender(nil)) == .unauthorized(isWrong: false))
        #expect(access.decide(sender("Basic \(token)")) == .unauthorized(isWrong: false))
        #expect(access.decide(sender("Bearer")) == .unauthorized(isWrong: false))
        for wrong in ["0123456789abcdeF", "0123456789abcde", "\(token)\(token)", "\(token) ", "x"] {
            #expect(access.decide(sender("Bearer \(wrong)")) == .unauthorized(isWrong: true), "\(wrong)")
        }
    }

    @Test func withoutATokenOnlyThisMachineIsObeyed() {
        let access = AdminAccess(token: "", isBoundToLoopback: true)
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", nil] {
            #expect(access.decide(sender(nil, host: host)) == .admitted(as: "loopback"), "\(host ?? "no host")")
        }
        #expect(access.decide(sender(nil, peer: "::1")) == .admitted(as: "loopback"))
        #expect(isForbidden(access.decide(sender(nil, peer: "10.0.0.7"))))
        #expect(isForbidden(access.decide(sender(nil, peer: ""))))
        #expect(isForbidden(access.decide(sender(nil, host: "evil.example:8000"))))
        #expect(isForbidden(access.decide(sender(nil, host: "127.0.0.1.evil.example"))))
        var forwarded = sender(nil)
        forwarded.isForwarded = true
        #expect(isForbidden(access.decide(forwarded)))
        #expect(isForbidden(AdminAccess(token: "", isBoundToLoopback: false).decide(sender(nil))))
        #expect(isForbidden(AdminAccess(token: "", isBoundToLoopback: false).decide(sender("Bearer \(token)"))))
    }

    private func request(_ body: String, needsReason: Bool = true) -> Result<AdminRequest, AdminRequest.Fault> {
        do throws(AdminRequest.Fault) {
            return .success(try AdminRequest(Array(body.utf8), needsReason: needsReason))
        } catch {
            return .failure(error)
        }
    }

    @Test func aBodyNamesAPartitionATopicOrEverything() throws {
        let one = try request(#"{"topic": "messages", "partition": 3, "reason": " bad rows "}"#).get()
        #expect(one.scope == PauseScope(topic: "messages", partition: 3))
        #expect(one.reason == "bad rows")
        #expect(
            try request(#"{"topic": "messages", "partition": null, "reason": "r"}"#).get().scope == PauseScope(topic: "messages"))
        #expect(try request(#"{"reason": "r"}"#).get().scope == PauseScope())
        #expect(try request("{}", needsReason: false).get().reason == nil)
        let longest = String(repeating: "ü", count: 500)
        #expect(try request(#"{"reason": "\#(longest)"}"#).get().reason == longest)
    }

    @Test(arguments: [
        ("", "not a JSON document"), ("{", "not a JSON document"), ("[]", "must be a JSON object"), ("{}", "reason must say why"),
        (#"{"reason": "  "}"#, "reason must say why"), (#"{"reason": 7}"#, "reason must be a string"),
        (#"{"topic": "", "reason": "r"}"#, "topic must not be empty"), (#"{"partition": 1, "reason": "r"}"#, "needs a topic"),
        (#"{"topic": "t", "partition": -1, "reason": "r"}"#, "must not be negative"),
        (#"{"topic": "t", "partition": "1", "reason": "r"}"#, "partition must be a whole number"),
        (#"{"topic": "t", "partition": true, "reason": "r"}"#, "partition must be a whole number"),
        (#"{"topic": "t", "partition": 1.5, "reason": "r"}"#, "partition must be a whole number"),
        (#"{"topic": "t", "partition": 99999999999, "reason": "r"}"#, "partition must be a whole number"),
        (#"{"topic": "t", "partiton": 1, "reason": "r"}"#, "partiton is not a member"),
        (#"{"reason": "a\u0000b"}"#, "without control characters"), (#"{"reason": "a\nb"}"#, "without control characters"),
        (#"{"reason": "\#(String(repeating: "x", count: 501))"}"#, "at most 500"),
    ]) func aFaultIsNamed(body: String, part: String) {
        guard case .failure(let fault) = request(body) else {
            Issue.record("\(body) must be refused")
            return
        }
        #expect(fault.detail.contains(part), "\(body): \(fault.detail)")
    }
}
