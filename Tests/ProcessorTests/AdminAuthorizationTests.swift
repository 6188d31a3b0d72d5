// Proves who may use the operator's routes, and which bodies they take.

import SluiceTables
import Testing

@testable import sluice

@Suite struct AdminAuthorizationTests {
    private let token = "0123456789abcdef"

    /// The caller's name, or why the request is denied.
    private func decide(
        token: String, isBoundToLoopback: Bool = true, _ authorization: String? = nil, peer: String = "127.0.0.1",
        host: String? = "localhost:8000", origin: String? = nil, isForwarded: Bool = false, onLoopback: Bool = true
    ) -> Result<String, Denial> {
        var http = HTTPSettings()
        http.adminToken = token
        http.adminOnLoopback = onLoopback
        if !isBoundToLoopback { http.host = "0.0.0.0" }
        let authorizer = RequestAuthorizer(http)
        var sender = RequestSender(peer: peer, host: host)
        sender.isForwarded = isForwarded
        sender.origin = origin
        do throws(Denial) {
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: authorization?.utf8.count ?? 0, alignment: 1)
            defer { bytes.deallocate() }
            bytes.copyBytes(from: (authorization ?? "").utf8)
            let header = authorization == nil ? nil : UnsafeRawBufferPointer(bytes)
            return .success(try authorizer.administer(from: sender) { header.map($0.claim(authorization:)) ?? .missing })
        } catch {
            return .failure(error)
        }
    }

    @Test(arguments: [true, false]) func aTokenDecidesAloneWhereThereIsOne(isBoundToLoopback: Bool) {
        func decide(_ authorization: String?, peer: String = "127.0.0.1", host: String = "localhost") -> Result<String, Denial> {
            self.decide(token: token, isBoundToLoopback: isBoundToLoopback, authorization, peer: peer, host: host)
        }
        #expect(decide("Bearer \(token)", peer: "10.0.0.7", host: "sluice:8000") == .success("admin_token"))
        #expect(decide("bearer  \(token)") == .success("admin_token"))
        #expect(decide(nil) == .failure(.adminTokenMissing))
        #expect(decide("Basic \(token)") == .failure(.adminTokenMissing))
        #expect(decide("Bearer") == .failure(.adminTokenMissing))
        for wrong in ["0123456789abcdeF", "0123456789abcde", "\(token)\(token)", "\(token) ", "x"] {
            #expect(decide("Bearer \(wrong)") == .failure(.adminTokenUnknown), "\(wrong)")
        }
    }

    @Test func withoutATokenTheRoutesDoNotExist() {
        #expect(decide(token: "", onLoopback: false) == .failure(.noSuchRoute))
        #expect(decide(token: "", "Bearer \(token)", onLoopback: false) == .failure(.noSuchRoute))
        #expect(decide(token: "", isBoundToLoopback: false) == .failure(.noSuchRoute))
        #expect(decide(token: "", isBoundToLoopback: false, "Bearer \(token)") == .failure(.noSuchRoute))
        #expect(decide(token: token, "Bearer \(token)", onLoopback: false) == .success("admin_token"))
    }

    @Test func onLoopbackOnlyLocalRequestsAreAuthorized() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", nil] {
            #expect(decide(token: "", host: host) == .success("loopback"), "\(host ?? "no host")")
        }
        #expect(decide(token: "", peer: "::1") == .success("loopback"))
        #expect(decide(token: "", peer: "10.0.0.7") == .failure(.adminNotLocal))
        #expect(decide(token: "", peer: "") == .failure(.adminNotLocal))
        #expect(decide(token: "", host: "evil.example:8000") == .failure(.adminNotLocal))
        #expect(decide(token: "", host: "127.0.0.1.evil.example") == .failure(.adminNotLocal))
        #expect(decide(token: "", isForwarded: true) == .failure(.adminNotLocal))
        #expect(decide(token: "", origin: "http://localhost:3000") == .success("loopback"))
        for origin in ["https://evil.example", "https://localhost.evil.example", "null"] {
            #expect(decide(token: "", origin: origin) == .failure(.adminNotLocal), "\(origin)")
        }
    }

    private func request(_ body: String, needsReason: Bool = true) -> Result<AdminRequest, ProblemDetails> {
        do throws(ProblemDetails) {
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
        (#"{"topic": "t", "partiton": 1, "reason": "r"}"#, "partiton is not a known member"),
        (#"{"reason": "a\u0000b"}"#, "without control characters"), (#"{"reason": "a\nb"}"#, "without control characters"),
        (#"{"reason": "\#(String(repeating: "x", count: 501))"}"#, "at most 500"),
    ]) func aFaultIsNamed(body: String, part: String) {
        guard case .failure(let fault) = request(body) else {
            Issue.record("\(body) must be refused")
            return
        }
        #expect(fault.status == 400 && fault.detail.contains(part), "\(body): \(fault.detail)")
    }
}
