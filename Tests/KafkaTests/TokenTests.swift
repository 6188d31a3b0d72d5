// Tests the tokens of OAUTHBEARER: what a program may print, when it is run, and what happens when it fails.

import Foundation
import Platform
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Kafka

@Suite struct TokenTests {
    /// 2026-01-01T00:00:00Z in milliseconds.
    private static let now: Int64 = 1_767_225_600_000

    /// A JSON Web Token without a signature.
    private static func jwt(_ claims: String) -> String {
        func part(_ text: String) -> String {
            Data(text.utf8).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }
        return part(#"{"alg":"none"}"#) + "." + part(claims) + "."
    }

    @Test func aJWTSaysItselfWhenItEndsAndWhoseItIs() throws {
        // The lengths need no, one and two padding characters.
        for subject in ["a", "ab", "abc", "ÿÿÿ?"] {
            let jwt = Self.jwt(#"{"exp":1767225900.5,"sub":"\#(subject)","iat":1}"#)
            let token = try OAuthToken("\(jwt)\n", now: Self.now)
            #expect(token.value == jwt && token.expires == Self.now + 300_500 && token.principal == subject)
            #expect(token.extensions.isEmpty)
        }
    }

    @Test func theAnswerOfATokenEndpointIsTaken() throws {
        let answer = #"{"token_type": "Bearer", "access_token": "c2lnbmVk+/=", "expires_in": 900}"#
        let token = try OAuthToken(answer, now: Self.now)
        #expect(token.value == "c2lnbmVk+/=" && token.expires == Self.now + 900_000 && token.principal == "")
        let more = try OAuthToken(
            "{\n \"access_token\": \"t\", \"expires_in\": \"60\",\n \"extensions\": {\"logicalCluster\": \"lkc-1\"}}\n",
            now: Self.now)
        #expect(more.expires == Self.now + 60_000 && more.extensions == ["logicalCluster": "lkc-1"])
        // expires_in is what the endpoint says; the claims may be for others.
        let both = try OAuthToken(
            #"{"access_token": "\#(Self.jwt(#"{"exp":1767229200,"sub":"app"}"#))", "expires_in": 60}"#, now: Self.now)
        #expect(both.expires == Self.now + 60_000 && both.principal == "app")
        let own = try OAuthToken(#"{"access_token": "\#(Self.jwt(#"{"exp":1767229200}"#))"}"#, now: Self.now)
        #expect(own.expires == Self.now + 3_600_000)
        #expect(try OAuthToken(Self.jwt(#"{"exp":1e300}"#), now: Self.now).expires == Int64(1e15))
    }

    @Test(arguments: [
        ("", "has printed no token"), (" \n", "has printed no token"),
        ("s3cret s3cret", "neither JSON nor one token"), ("s3crét", "neither JSON nor one token"),
        ("('s3cret', 1767229200000)", "neither JSON nor one token"),
        (#"{"access_token": "", "expires_in": 9}"#, "neither JSON nor one token"),
        (#"{"token": "s3cret", "expires_in": 9}"#, "has printed JSON that is not"),
        (#"{"access_token": "s3cret", "expires_in": "soon"}"#, "has printed JSON that is not"),
        (#"{"access_token": "s3cret""#, "has printed JSON that is not"),
        ("s3cret", "without its end"), (jwt(#"{"sub":"s3cret"}"#), "without its end"), ("s3cret.###.x", "without its end"),
        (#"{"access_token": "s3cret", "expires_in": 0}"#, "that has expired"), (jwt(#"{"exp":1767225600}"#), "that has expired"),
    ])
    func anythingElseIsRefusedAndNotQuoted(output: String, says: String) throws {
        let refusal = try #require(throws: OAuthToken.Refusal.self) { try OAuthToken(output, now: Self.now) }
        #expect(refusal.description.contains(says) && !refusal.description.contains("s3cr"), "\(refusal)")
    }

    @Test func theSourceOfTokensIsOneAndOnlyForOAUTHBEARER() {
        let bearer = ["security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"]
        func fault(_ properties: [String: String], _ hasCommand: Bool) -> String {
            KafkaProperties.tokenFault(in: properties, hasCommand: hasCommand) ?? ""
        }
        #expect(fault(bearer, true) == "" && fault([:], false) == "")
        #expect(fault(["security.protocol": "sasl_plaintext", "sasl.mechanisms": "OAUTHBEARER"], true) == "")
        #expect(fault(bearer, false).contains("set this, or in kafka.properties sasl.oauthbearer.method: oidc"))
        #expect(fault(bearer.merging(["sasl.oauthbearer.method": "OIDC"]) { $1 }, false) == "")
        #expect(fault(bearer.merging(["sasl.oauthbearer.method": "default"]) { $1 }, false) != "")
        #expect(fault(bearer.merging(["enable.sasl.oauthbearer.unsecure.jwt": "true"]) { $1 }, false) == "")
        #expect(fault(bearer.merging(["sasl.oauthbearer.method": "oidc"]) { $1 }, true).contains("remove one of them"))
        for other in [[:], ["security.protocol": "SSL"], ["security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"]] {
            #expect(fault(other, true).contains("its tokens are for OAUTHBEARER"))
        }
        #expect(fault(["security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"], false) == "")
    }

    private func client(_ command: [String], log: @escaping @Sendable (String) -> Void) throws -> KafkaMetadata {
        // Nothing listens on port 1, and nothing is connected before there is a token.
        let configuration = KafkaClientConfiguration(
            bootstrapServers: "127.0.0.1:1",
            properties: ["security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER"],
            tokenCommand: command
        ) { _, line in log(line) }
        return try KafkaMetadata.start(configuration, groupID: "")
    }

    /// The metadata client's queues are polled by nobody: librdkafka's background thread runs the callback.
    @Test func aFailureIsReportedWithTheLastLineOfTheProgram() async throws {
        let lines = Mutex("")
        let script = "echo s3cret; echo 'Traceback:' >&2; echo 'no role attached' >&2; echo >&2; exit 3"
        let metadata = try client(["sh", "-c", script]) { line in lines.withLock { $0 += line + "\n" } }
        let isReported = await eventually {
            lines.withLock {
                $0.contains("OAUTHBEARER token: kafka.token_command sh failed with exit status 3: no role attached")
            }
        }
        #expect(isReported && !lines.withLock { $0.contains("s3cret") }, "\(lines.withLock { $0 })")
        // A query that no broker answers says why.
        let error = try #require(
            await #expect(throws: KafkaError.self) { try await metadata.topics(["t"], timeout: .milliseconds(200)) })
        #expect(error.isRetriable && error.message.contains("no role attached"), "\(error)")
        #expect(await metadata.close(deadline: .seconds(5)))
    }

    @Test func aTokenIsTakenAndThenTheBrokersAreConnected() async throws {
        let lines = Mutex("")
        let metadata = try client(["echo", #"{"access_token": "t", "expires_in": 900, "extensions": {"logicalCluster": "lkc"}}"#])
        {
            line in lines.withLock { $0 += line + "\n" }
        }
        #expect(await eventually { lines.withLock { $0.contains("Connection refused") } }, "\(lines.withLock { $0 })")
        #expect(!lines.withLock { $0.contains("token") })
        #expect(await metadata.close(deadline: .seconds(5)))
    }

    @Test func librdkafkasRefusalIsReportedWithoutTheValue() async throws {
        let lines = Mutex("")
        let metadata = try client(["echo", #"{"access_token": "t", "expires_in": 900, "extensions": {"no.letter": "s3cret"}}"#]) {
            line in lines.withLock { $0 += line + "\n" }
        }
        #expect(await eventually { lines.withLock { $0.contains("names are letters") } }, "\(lines.withLock { $0 })")
        #expect(!lines.withLock { $0.contains("s3cret") })
        #expect(await metadata.close(deadline: .seconds(5)))
    }

    @Test func aProgramThatHangsIsEndedAtItsDeadline() throws {
        let refresh = try TokenRefresh(["sleep", "600"], timeout: .milliseconds(200))
        guard case .failure(let error) = refresh.token() else {
            Issue.record("a token of sleep")
            return
        }
        #expect(error.message == "kafka.token_command sleep has not ended within 0.2 seconds" && error.code == .authentication)
    }

    /// The close does not wait for the program, which is killed, with its children.
    @Test func aClientThatIsClosedEndsItsProgram() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "sluice-token-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        let metadata = try client(["sh", "-c", "echo $$ >\(file); sleep 600"]) { _ in }
        @Sendable func pid() -> Int32? {
            let text = try? String(contentsOfFile: file, encoding: .utf8)
            return text.flatMap { Int32($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        try #require(await eventually { pid() != nil })
        #expect(await metadata.close(deadline: .seconds(5)))
        let program = try #require(pid())
        #expect(await eventually { kill(program, 0) != 0 }, "process \(program) is left behind")
    }
}

@Suite struct ConnectionFailureTests {
    /// Lines of librdkafka 2.0.2, and of 2.16 where they differ.
    private static let lines: [(line: String, reason: String?)] = [
        (
            """
            FAIL: [thrd:sasl_plaintext://h:1/bootstrap]: sasl_plaintext://h:1/bootstrap: SASL authentication error: Authentication \
            failed: Invalid username or password (after 301ms in state AUTH_REQ, 1 identical error(s) suppressed)
            """,
            "sasl_plaintext://h:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password"
        ),
        (
            """
            FAIL: [thrd:ssl://h:1/1]: ssl://h:1/1: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL \
            alert number 42 (after 13ms in state APIVERSION_QUERY)
            """,
            """
            ssl://h:1/1: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42: the broker \
            asks for a client certificate; set ssl.certificate.location and ssl.key.location
            """
        ),
        (
            "ERROR: [thrd:background]: c#consumer-1: Failed to acquire SASL OAUTHBEARER token: kafka.token_command x failed",
            "c#consumer-1: Failed to acquire SASL OAUTHBEARER token: kafka.token_command x failed"
        ),
        (
            """
            FAIL: [thrd:h:1/1]: h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 9ms in state \
            APIVERSION_QUERY)
            """,
            """
            h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN: the broker closes the connection; compare \
            security.protocol with that of the listener
            """
        ),
        (
            "FAIL: [thrd:h:1/1]: h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 5000ms in state UP)",
            nil
        ),
        ("FAIL: [thrd:h:1/1]: h:1/1: Disconnected (after 9ms in state UP)", "h:1/1: Disconnected"),
        ("FAIL: [thrd:h:1/1]: h:1/1: Disconnected (after 600000ms in state UP)", nil),
        ("ERROR: [thrd:h:1/1]: 1/1 brokers are down", nil), ("CONFWARN: [thrd:app]: h: a property", nil), ("FAIL: ", nil),
    ]

    @Test(arguments: lines)
    func theReasonIsTakenOutOfTheLine(line: String, reason: String?) { #expect(ConnectionFailures.reason(in: line) == reason) }

    @Test func aQueryThatNoBrokerAnswersSaysWhy() {
        let failures = ConnectionFailures()
        let lines = Mutex<[String]>([])
        let log = failures.watching({ _, line in lines.withLock { $0.append(line) } }, logsCloses: false)
        let error = KafkaError(.brokerUnreachable, "no answer" + TopicHandle.remedy, isRetriable: true)
        #expect(failures.explain(error) == error)
        let refused = "h:1/1: Connect to ipv4#1.2.3.4:1 failed: Connection refused"
        log(.error, "FAIL: [thrd:h:1/1]: \(refused) (after 1ms in state CONNECT)")
        log(.error, "FAIL: [thrd:h:1/1]: h:1/1: Disconnected (after 600000ms in state UP)")
        let explained = failures.explain(error)
        #expect(explained.message == "no answer; the last connection failed: \(refused)")
        #expect(explained.code == .brokerUnreachable && explained.isRetriable)
        #expect(lines.withLock { $0.count } == 1, "librdkafka does not log closed connections by default")
        let missing = KafkaError(.unknownTopic, "no topic")
        #expect(failures.explain(missing) == missing)
    }
}
