// Proves what the operator's routes answer over HTTP, with a real PostgreSQL.

import Foundation
import HTTPServer
import Records
import SluiceTables
import Telemetry
import TestSupport
import Testing

@testable import Pipeline
@testable import sluice

/// An answer: status, headers in lower case, and the members of its body.
private struct Answer: Sendable {
    struct Pause: Decodable {
        let topic: String?
        let partition: Int?
        let reason: String
        let paused_by: String
    }

    struct Retried: Decodable, Equatable {
        let topic: String
        let partition: Int
        let reason: String
        let message: String
    }

    private struct Body: Decodable {
        var paused: [Pause]?
        var retried: [Retried]?
        var detail: String?
        var unchanged: String?
    }

    let status: Int
    let headers: [String: String]
    let paused: [Pause]
    let retried: [Retried]
    let detail: String
    /// Why nothing was changed, in an answer 200.
    let unchanged: String?

    init(_ answer: LoopbackHTTP.Answer) throws {
        (status, headers) = (answer.status, answer.headers)
        let body = try answer.json(Body.self)
        paused = body.paused ?? []
        retried = body.retried ?? []
        detail = body.detail ?? ""
        unchanged = body.unchanged
    }
}

/// A process's HTTP side, without a pipeline.
private final class AdminServer: Sendable {
    let server: HTTPServer
    let controller: AdminController
    let authorizer: RequestAuthorizer
    let pauses: OperatorPauseSync
    let log = RecordedLines()

    init(uri: String, token: String = "", isBoundToLoopback: Bool = true, onLoopback: Bool = true) throws {
        var settings = PostgresSettings()
        settings.uri = uri
        settings.connectTimeout = .seconds(1)
        pauses = OperatorPauseSync(
            store: PauseStore(group: "g"), configuration: settings.operatorConnection, interval: .seconds(1), logger: .silent)
        var http = HTTPSettings()
        http.adminToken = token
        http.adminOnLoopback = onLoopback
        if !isBoundToLoopback { http.host = "0.0.0.0" }
        authorizer = RequestAuthorizer(http)
        controller = AdminController(
            authorizer: authorizer, topics: ["messages", "others"], logger: Logger(label: "t", sink: log))
        let routes = Routes(
            role: .worker, eventProducer: nil, admin: controller, authorizer: authorizer, registry: MetricsRegistry(),
            health: Health(role: .worker, eventProducer: nil) { nil })
        server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: routes)
    }

    /// Carries out requests while `body` runs.
    func serving(
        stopped: [PipelineSnapshot.Stopped] = [], _ body: () async throws -> Void
    ) async throws {
        let serving = Task {
            await controller.run(
                pauses: { [pauses] in pauses },
                retry: { scope in
                    // This worker has the first three partitions.
                    let isAssigned = (0..<3).contains { scope.contains(PauseScope(topic: "messages", partition: $0)) }
                    return (
                        stopped.filter { scope.contains(PauseScope(topic: $0.source.topic, partition: $0.source.partition)) },
                        isAssigned
                    )
                }, partitions: { $0 == "messages" ? 4 : 1 })
        }
        let isServing = await eventually { controller.isServing }
        #expect(isServing)
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        serving.cancel()
        pauses.abandon()
        await serving.value
        await server.stop(deadline: .seconds(5))
        await pauses.close()
        try result.get()
    }

    func ask(
        _ method: String, _ path: String, _ body: String? = nil, type: String = "application/json", headers: [String] = []
    ) async throws -> Answer {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"] + headers
        if let body { lines += ["Content-Type: \(type)", "Content-Length: \(body.utf8.count)"] }
        let request = lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
        return try Answer(try await LoopbackHTTP.ask(request, port: server.port))
    }
}

/// Keeps log lines.
private final class RecordedLines: LogSink {
    private let kept = Shared<[String]>([])
    var lines: [String] { kept.current }
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
}

private let pause = #"{"topic": "messages", "partition": 3, "reason": "bad rows"}"#
private let unreachable = "postgres://127.0.0.1:1/nothing"

@Suite(.timeLimit(.minutes(2))) struct AdminRouteTests {
    /// Needs no database: what has stopped is known here.
    @Test func retriesWhatIsStoppedAndSaysWhenNothingIs() async throws {
        let admin = try AdminServer(uri: unreachable)
        let poisoned = PipelineSnapshot.Stopped(source: TopicPartition("messages", 2), reason: StopReason(.poison, "mostly bad"))
        try await admin.serving(stopped: [poisoned]) {
            for body in [#"{}"#, #"{"topic": "messages"}"#, #"{"topic": "messages", "partition": 2, "reason": "mended"}"#] {
                let answer = try await admin.ask("POST", "/admin/retry", body)
                #expect(answer.status == 200)
                #expect(answer.retried == [.init(topic: "messages", partition: 2, reason: "poison", message: "mostly bad")])
            }
            let nothing = try await admin.ask("POST", "/admin/retry", #"{"topic": "messages", "partition": 1}"#)
            #expect(nothing.status == 409 && nothing.detail.contains("messages[1] is stopped"))
            let elsewhere = try await admin.ask("POST", "/admin/retry", #"{"topic": "messages", "partition": 3}"#)
            #expect(elsewhere.status == 409 && elsewhere.detail.contains("This worker has no partition of messages[3]"))
            #expect(try await admin.ask("POST", "/admin/retry", #"{"topic": "strange"}"#).status == 404)
        }
    }

    @Test(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
    func pausesListsAndResumes() async throws {
        let admin = try AdminServer(uri: try await TestPostgres.database(migrated: true))
        #expect(try await admin.ask("POST", "/admin/pause", pause).status == 503, "before the worker has started")
        try await admin.serving {
            #expect(try await admin.ask("GET", "/admin/pauses").paused.isEmpty)
            for unchanged in [nil, "messages[3] is paused already, for the same reason. Nothing was changed."] {
                let answer = try await admin.ask("POST", "/admin/pause", pause)
                #expect(answer.status == 200)
                #expect(answer.unchanged == unchanged)
                #expect(answer.headers["content-type"] == "application/json")
                try #require(answer.paused.count == 1)
                #expect(answer.paused[0].topic == "messages")
                #expect(answer.paused[0].partition == 3)
                #expect(answer.paused[0].reason == "bad rows")
                #expect(answer.paused[0].paused_by == "loopback")
            }
            _ = try await admin.ask("POST", "/admin/pause", #"{"topic": "others", "reason": "r"}"#)
            #expect(admin.log.lines.contains { $0.contains("Paused by an operator. by=loopback peer=127.0.0.1 scope=") })
            let listed = try await admin.ask("GET", "/admin/pauses").paused
            #expect(listed.map(\.topic) == ["messages", "others"])
            #expect(listed[1].partition == nil)

            let part = try await admin.ask("POST", "/admin/resume", #"{"topic": "others", "partition": 0}"#)
            #expect(part.status == 409)
            #expect(part.detail.contains("topic others"))
            let resumed = try await admin.ask("POST", "/admin/resume", #"{"topic": "others"}"#)
            #expect(resumed.paused.count == 1 && resumed.unchanged == nil)
            let again = try await admin.ask("POST", "/admin/resume", #"{"topic": "others"}"#)
            #expect(again.status == 200 && again.paused.count == 1)
            #expect(again.unchanged == "topic others was not paused. Nothing was changed.")
            let last = try await admin.ask("POST", "/admin/resume", "{}")
            #expect(last.status == 200 && last.paused.isEmpty)
        }
    }

    @Test func refusesInvalidRequests() async throws {
        let admin = try AdminServer(uri: unreachable)
        try await admin.serving {
            for (body, status, part) in [
                ("{", 400, "JSON"), (#"{"topic": "messages"}"#, 400, "reason"),
                (#"{"topic": "x", "reason": "r"}"#, 404, "messages, others"),
                (#"{"topic": "messages", "partition": 4, "reason": "r"}"#, 404, "4 partitions"),
            ] {
                let answer = try await admin.ask("POST", "/admin/pause", body)
                #expect(answer.status == status, "\(body)")
                #expect(answer.headers["content-type"] == "application/problem+json")
                #expect(answer.detail.contains(part), "\(body): \(answer.detail)")
            }
            #expect(try await admin.ask("POST", "/admin/pause", pause, type: "text/plain").status == 415)
            #expect(try await admin.ask("POST", "/admin/pause").status == 415)
            #expect(try await admin.ask("GET", "/admin/pause").status == 405)
            #expect(try await admin.ask("POST", "/admin/pause", String(repeating: " ", count: 9 << 10)).status == 413)
            let forwarded = try await admin.ask("POST", "/admin/pause", pause, headers: ["X-Forwarded-For: 10.0.0.7"])
            #expect(forwarded.status == 403)
            #expect(forwarded.detail.contains("SLUICE_HTTP_ADMIN_TOKEN_FILE"))
        }
    }

    @Test func answers503WhilePostgreSQLIsUnreachable() async throws {
        let admin = try AdminServer(uri: unreachable)
        try await admin.serving {
            for (method, path, body) in [
                ("POST", "/admin/pause", pause), ("POST", "/admin/resume", "{}"), ("GET", "/admin/pauses", nil),
            ] {
                let answer = try await admin.ask(method, path, body)
                #expect(answer.status == 503, "\(path)")
                #expect(answer.headers["retry-after"] == "1")
                #expect(answer.headers["content-type"] == "application/problem+json")
            }
        }
        // `serving` has returned: every request was answered.
    }

    @Test func requiresTheToken() async throws {
        let admin = try AdminServer(uri: unreachable, token: "0123456789abcdef")
        for path in ["/admin/pause", "/admin/resume"] {
            let missing = try await admin.ask("POST", path, pause)
            #expect(missing.status == 401)
            #expect(missing.headers["www-authenticate"] == "Bearer")
            #expect(missing.headers["content-type"] == "application/problem+json")
        }
        #expect(try await admin.ask("GET", "/admin/pauses").status == 401)
        let wrong = try await admin.ask("POST", "/admin/pause", pause, headers: ["Authorization: Bearer 0123456789abcdeF"])
        #expect(wrong.status == 401)
        #expect(!wrong.detail.contains("0123456789abcde"))
        // The log names the address, not the token, and not every request of a flood.
        #expect(
            admin.log.lines.contains { $0.contains("A request to /admin was refused. peer=127.0.0.1 reason=\"wrong token\"") })
        #expect(admin.log.lines.contains { $0.contains("reason=\"no token\"") })
        for _ in 0..<30 { _ = try await admin.ask("GET", "/admin/pauses", headers: ["Authorization: Bearer 0123456789abcdeF"]) }
        #expect(admin.log.lines.count < 30 && !admin.log.lines.contains { $0.contains("0123456789abcde") })
        let right = try await admin.ask("POST", "/admin/pause", pause, headers: ["Authorization: Bearer 0123456789abcdef"])
        #expect(right.status == 503, "authorized, and the worker has not started")
        var http = HTTPSettings()
        http.adminToken = "fedcba9876543210"
        http.adminOnLoopback = true
        admin.authorizer.update(http)
        let old = try await admin.ask("POST", "/admin/pause", pause, headers: ["Authorization: Bearer 0123456789abcdef"])
        #expect(old.status == 401)
        let new = try await admin.ask("POST", "/admin/pause", pause, headers: ["Authorization: Bearer fedcba9876543210"])
        #expect(new.status == 503)
        try await admin.serving {}
    }

    /// On another address, or without `admin_on_loopback`; neither the document nor the list of routes names them.
    @Test(arguments: [true, false]) func withoutATokenTheRoutesDoNotExist(isBoundToLoopback: Bool) async throws {
        let admin = try AdminServer(uri: unreachable, isBoundToLoopback: isBoundToLoopback, onLoopback: !isBoundToLoopback)
        for (method, path) in [("POST", "/admin/pause"), ("POST", "/admin/retry"), ("GET", "/admin/pauses")] {
            let answer = try await admin.ask(method, path, method == "POST" ? pause : nil)
            #expect(answer.status == 404 && answer.detail.hasPrefix("No route has this path"), "\(path)")
        }
        for path in ["/openapi.json", "/"] {
            let text = String(
                decoding: try await LoopbackHTTP.exchange(
                    "GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port: admin.server.port),
                as: UTF8.self)
            #expect(text.contains("/livez") && !text.contains("/admin/pause"), "\(path)")
            #expect(text.contains("/metrics") == isBoundToLoopback, "\(path)")
        }
        #expect(admin.log.lines.isEmpty)
        var http = HTTPSettings()
        http.adminToken = "fedcba9876543210"
        admin.authorizer.update(http)
        #expect(try await admin.ask("GET", "/admin/pauses", headers: ["Authorization: Bearer fedcba9876543210"]).status == 503)
        try await admin.serving {}
    }

    @Test func aRequestThatWaitsAtTheEndIsAnswered() async throws {
        // A listener that accepts and never answers: connecting to it takes its whole time-out.
        let silent = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(silent) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(silent, $0, length)
                _ = listen(silent, 8)
                _ = getsockname(silent, $0, &length)
            }
        }
        let admin = try AdminServer(uri: "postgres://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/nothing")
        let answers = Shared<[Int]>([])
        let asking = Shared<Task<Void, any Error>?>(nil)
        try await admin.serving {
            let task = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<3 {
                        group.addTask {
                            let status = try await admin.ask("POST", "/admin/pause", pause).status
                            answers.withLock { $0.append(status) }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            asking.withLock { $0 = task }
            #expect(await eventually { admin.server.statistics.requestsInFlight == 3 })
        }
        try await asking.current?.value
        #expect(answers.current == [503, 503, 503])
    }
}
