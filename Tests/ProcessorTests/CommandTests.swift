// Proves what the built programs do to those who start them: exit codes, messages, signals, and secrets from files.

import Foundation
import Glibc
import Kafka
import TestSupport
import Testing

/// The programs of this build, run in an empty directory.
struct Programs: ~Copyable {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
    private let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    private let mapping = TestPostgres.checkout.path + "/examples/messages/mapping.yaml"

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }

    /// Starts `sluice …` with the shipped mapping; a line for a shell may stand before the program: `"$@" 2>/dev/null`.
    func start(
        _ program: String, _ line: String, environment: [String: String] = [:], shell: String = "exec \"$@\""
    ) throws -> ChildProcess {
        let path = program == "openssl" ? program : "\(built)/\(program)"
        return try ChildProcess.start(
            "/usr/bin/env",
            ["-C", directory, "sh", "-c", shell, "sh", path] + line.split(separator: " ").map(String.init),
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "SLUICE_MAPPINGS": mapping, "SLUICE_HTTP_PORT": "0",
                "SLUICE_HTTP_SHUTDOWN_DELAY": "0s",
            ].merging(environment) { $1 },
            log: "\(directory)/\(UUID().uuidString).log")
    }

    /// Runs to the end: exit code and output.
    func run(
        _ program: String, _ line: String, environment: [String: String] = [:], shell: String = "exec \"$@\""
    ) async throws -> (code: Int32, output: String) {
        let child = try start(program, line, environment: environment, shell: shell)
        guard case .exited(let code) = try await child.ended(within: .seconds(60)) else { return (-1, child.output) }
        return (code, child.output)
    }

    /// Starts an ingress with a broker of its own, and waits until it takes events.
    func ingress(
        _ line: String = "", role: String = "ingress", environment: [String: String] = [:]
    ) async throws -> (process: ChildProcess, port: UInt16) {
        let process = try start("sluice", "run --embedded --role \(role) \(line)", environment: environment)
        @Sendable func port() -> UInt16? {
            process.output.firstMatch(of: /url=https?:\/\/127\.0\.0\.1:(\d+)/).flatMap { UInt16($0.output.1) }
        }
        try #require(await eventually(within: .seconds(30)) { port() != nil }, "\(process.output)")
        return (process, try #require(port()))
    }
}

@Suite struct CommandTests {
    @Test func aWrongCommandLineExitsWith2() async throws {
        let programs = try Programs()
        for (program, line) in [("sluice", ""), ("sluice", "rum"), ("sluice", "run --embeded"), ("sluice-loadtest", "--rat 5")] {
            let (code, output) = try await programs.run(program, line)
            #expect(code == 2 && !output.isEmpty, "\(program) \(line): \(code) \(output)")
            #expect(
                try await programs.run(program, line, shell: "\"$@\" 2>/dev/null").output == "",
                "\(line) writes to standard output")
        }
        for line in ["--help", "-h", "help run", "run --help", "--version", "completion bash", "man"] {
            let (code, output) = try await programs.run("sluice", line)
            #expect(code == 0 && !output.isEmpty, "\(line): \(code)")
        }
    }

    @Test func aWrongConfigurationExitsWith78AndEveryFault() async throws {
        let programs = try Programs()
        try programs.write("wrong.yaml", "kafka: {grup_id: x}\nhttp: {port: 70000}\n")
        for command in ["run", "migrate", "check-config"] {
            let (code, output) = try await programs.run(
                "sluice", "\(command) --config wrong.yaml", environment: ["SLUICE_HTTP_PORT": "0"])
            #expect(code == 78 && output.contains("wrong.yaml:1: kafka.grup_id"), "\(command): \(code) \(output)")
        }
        let missing = try await programs.run("sluice", "migrate", environment: ["SLUICE_MAPPINGS": "none.yaml"])
        #expect(missing.code == 78)
        #expect(missing.output.contains("config/sluice.yaml does not exist in \(programs.directory)"), "\(missing.output)")
    }

    /// The fault itself does not keep it from saying so in the configured format, from wherever that comes.
    @Test func aWrongConfigurationIsReportedInTheConfiguredFormat() async throws {
        let programs = try Programs()
        try programs.write("wrong.yaml", "kafka: {grup_id: x}\nlog: {format: json}\nhttp: {max_header_bytes: 1}\n")
        try programs.write("no.yaml", "kafka: {\n")
        for (file, environment) in [("wrong.yaml", [:]), ("no.yaml", ["SLUICE_LOG_FORMAT": "json"])] {
            let (code, output) = try await programs.run("sluice", "run --config \(file)", environment: environment)
            let lines = output.split(separator: "\n")
            #expect(code == 78 && lines.count == 1, "\(output)")
            let object = try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
            #expect(object["level"] as? String == "error" && object["exit_code"] as? Int == 78)
            #expect((object["message"] as? String)?.contains("\(file):") == true, "\(output)")
        }
    }

    /// A Service `sluice-http` writes a variable with the name of a key.
    @Test func variablesOfServicesAreIgnoredAndNamedOnce() async throws {
        let programs = try Programs()
        let links = [
            "SLUICE_HTTP_PORT": "tcp://10.0.0.8:8000", "SLUICE_HTTP_SERVICE_HOST": "10.0.0.8",
            "SLUICE_PORT": "tcp://10.0.0.7:8000",
        ]
        let (code, output) = try await programs.run("sluice", "check-config", environment: links)
        #expect(code == 0 && output.contains("port: 8000  # default"), "\(output)")
        let lines = output.split(separator: "\n").filter { $0.contains("Kubernetes") }
        #expect(
            lines.count == 1 && lines[0].contains("warning") && lines[0].contains("services=\"sluice, sluice-http\""), "\(output)"
        )
        #expect(lines.first?.contains("enableServiceLinks: false") == true)
        let other = try await programs.run("sluice", "check-config", environment: ["SLUICE_PORT": "tcp://10.0.0.7:8000"])
        #expect(other.code == 0 && other.output.contains("info") && other.output.contains("services=sluice "), "\(other.output)")
        let typo = try await programs.run("sluice", "check-config", environment: ["SLUICE_HTP_PORT": "8000"])
        #expect(typo.code == 78 && typo.output.contains("did you mean SLUICE_HTTP_PORT?"), "\(typo.output)")
    }

    @Test func aLimitThatAProxyMeetsIsNamed() async throws {
        let programs = try Programs()
        let proxies = ["SLUICE_HTTP_TRUSTED_PROXIES": "10.0.0.0/8"]
        #expect(
            try await programs.run("sluice", "check-config", environment: proxies).output
                .contains("http.connections_per_address (1024)")
        )
        let unlimited = proxies.merging(["SLUICE_HTTP_CONNECTIONS_PER_ADDRESS": "0"]) { $1 }
        #expect(try await !programs.run("sluice", "check-config", environment: unlimited).output.contains("warning"))
    }

    /// As systemd does with `Type=notify`.
    @Test func theServiceManagerIsToldOfStartAndStop() async throws {
        let programs = try Programs()
        let receiver = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(receiver) }
        var timeout = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = "\(programs.directory)/n"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(receiver, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        try #require(isBound, "\(path)")
        @Sendable func next() async throws -> String {
            try await LoopbackConnection.blocking {
                var bytes = [UInt8](repeating: 0, count: 256)
                let count = recv(receiver, &bytes, 256, 0)
                return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            }
        }
        let (process, _) = try await programs.ingress(environment: ["NOTIFY_SOCKET": path])
        #expect(try await next() == "READY=1")
        process.signal(SIGTERM)
        #expect(try await next() == "STOPPING=1")
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }

    /// The log's pipe is full and nobody reads it: requests are answered, and SIGTERM ends the process.
    @Test func aLogThatNobodyReadsStopsNothing() async throws {
        let programs = try Programs()
        let (reader, port) = ("\(programs.directory)/log", "\(programs.directory)/port")
        #expect(mkfifo(reader, 0o600) == 0)
        // The shell reads the first line with an address, and keeps the pipe open afterwards.
        let shell =
            "exec 3<>\(reader); \"$@\" 2>\(reader) & p=$!; while read -r line <&3; do case $line in *url=*) echo \"$line\" >\(port); break;; esac; done; "
            + "trap 'kill -TERM $p' TERM; wait $p; wait $p; exit $?"
        let process = try programs.start(
            "sluice", "run --embedded --role ingress",
            environment: ["SLUICE_LOG_LEVEL": "debug", "SLUICE_KAFKA_PROPERTIES": "debug=all"], shell: shell)
        @Sendable func listening() -> UInt16? {
            (try? String(contentsOfFile: port, encoding: .utf8))?.firstMatch(of: /127\.0\.0\.1:(\d+)/).flatMap {
                UInt16($0.output.1)
            }
        }
        try #require(await eventually(within: .seconds(30)) { listening() != nil }, "\(process.output)")
        let number = try #require(listening())
        // Each request makes librdkafka log.
        let event = #"{"action":"Delete","message_id":1}"#
        let isFull = try await eventually(within: .seconds(60), every: .milliseconds(20)) {
            let begin = ContinuousClock.now
            _ = try await LoopbackHTTP.ask(
                "POST /send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: \(event.utf8.count)\r\n\r\n\(event)",
                port: number)
            let page = try await LoopbackHTTP.ask(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port: number)
            #expect(ContinuousClock.now - begin < .seconds(10))
            return String(decoding: page.body, as: UTF8.self).contains(/\nsluice_log_lines_dropped_total [1-9]/)
        }
        #expect(isFull)
        process.signal(SIGTERM)
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }

    /// The embedded broker is a child process, which needs no secret.
    @Test func theEmbeddedBrokerGetsNoSecret() async throws {
        let programs = try Programs()
        let (process, _) = try await programs.ingress(
            environment: ["SLUICE_HTTP_ADMIN_TOKEN": "sehr-geheimes-wort", "PGPASSWORD": "geheim", "LC_ALL": "C"])
        let children = try String(contentsOfFile: "/proc/\(process.pid)/task/\(process.pid)/children", encoding: .utf8)
        var found: [String] = []
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/task") {
            let list = try? String(contentsOfFile: "/proc/\(process.pid)/task/\(thread)/children", encoding: .utf8)
            for child in (list ?? "").split(separator: " ") {
                let bytes = FileManager.default.contents(atPath: "/proc/\(child)/environ") ?? Data()
                found.append(String(decoding: bytes, as: UTF8.self))
            }
        }
        #expect(found.count == 1 && found[0].contains("PATH=") && found[0].contains("LC_ALL=C"), "\(children) \(found)")
        #expect(!found.joined().contains("geheim") && !found.joined().contains("SLUICE_"))
        process.signal(SIGTERM)
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }

    @Test func withoutAFileItSaysWhereItLooked() async throws {
        let programs = try Programs()
        let (code, output) = try await programs.run("sluice", "check-config", environment: ["SLUICE_LOG_FORMAT": "json"])
        #expect(code == 0)
        #expect(
            output.contains("# no configuration file: config/sluice.yaml does not exist in \(programs.directory)"), "\(output)")
        #expect(output.contains(#""message":"No configuration file found; defaults and environment are used.""#), "\(output)")
        #expect(
            try await programs.run("sluice", "check-config", environment: ["SLUICE_LOG_LEVEL": "error"]).output.contains(
                "\"message\"") == false)
    }

    @Test func aFailureIsLoggedInTheConfiguredFormatAndExitsWith1() async throws {
        let programs = try Programs()
        // Nothing listens on port 1.
        let environment = [
            "SLUICE_LOG_FORMAT": "json", "SLUICE_POSTGRES_URI": "postgres://127.0.0.1:1/x",
            "SLUICE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "SLUICE_POSTGRES_MIGRATIONS": TestPostgres.checkout.path + "/examples/messages/migrations",
        ]
        let migrate = try await programs.run("sluice", "migrate", environment: environment)
        #expect(migrate.code == 1)
        let last = try #require(migrate.output.split(separator: "\n").last)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(last.utf8)) as? [String: Any])
        #expect(object["level"] as? String == "error" && object["exit_code"] as? Int == 1, "\(last)")
        #expect((object["message"] as? String)?.contains("127.0.0.1") == true, "\(last)")
        let check = try await programs.run("sluice", "check-config --connect", environment: environment)
        #expect(check.code == 1)
        for server in ["Kafka", "PostgreSQL"] {
            #expect(check.output.contains("The check of \(server) failed."), "\(check.output)")
        }
    }

    /// The brokers of bootstrap_servers may answer, and the address that the leader of a partition advertises not.
    @Test func aLeaderThatCannotBeReachedIsNamed() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)], brokers: 2)
        defer { broker.stop() }
        let addresses = broker.bootstrapServers.split(separator: ",").map(String.init)
        try broker.setLeader(of: "messages", partition: 0, to: 1)
        try broker.setLeader(of: "messages", partition: 1, to: 2)
        try broker.setBroker(2, isDown: true)
        let programs = try Programs()
        let (code, output) = try await programs.run(
            "sluice", "check-config --connect",
            environment: ["SLUICE_KAFKA_BOOTSTRAP_SERVERS": addresses[0], "SLUICE_POSTGRES_URI": "postgres://127.0.0.1:1/x"])
        #expect(code == 1)
        let line = try #require(output.split(separator: "\n").first { $0.contains("The check of Kafka failed.") }, "\(output)")
        #expect(line.contains("the leader of messages") && line.contains(addresses[1]) && line.contains("Connection refused"))
    }

    @Test func tokensOfNoUseAreAFaultOfTheConfiguration() async throws {
        let programs = try Programs()
        let bearer = "security.protocol=SASL_SSL,sasl.mechanism=OAUTHBEARER"
        let faults = [
            (["SLUICE_KAFKA_PROPERTIES": bearer], "kafka.token_command: OAUTHBEARER needs a source of tokens"),
            (["SLUICE_KAFKA_TOKEN_COMMAND": "true"], "kafka.token_command: its tokens are for OAUTHBEARER"),
        ]
        for (environment, says) in faults {
            let (code, output) = try await programs.run("sluice", "check-config", environment: environment)
            #expect(code == 78 && output.contains(says), "\(code) \(output)")
        }
        let both = faults[0].0.merging(faults[1].0) { $1 }
        #expect(try await programs.run("sluice", "check-config", environment: both).code == 0)
    }

    /// Later they are an outage: they may be rotated. Credentials that have never worked are a mistake, and waiting hides it.
    @Test(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }) func wrongCredentialsAtTheStartEndTheProcess()
        async throws
    {
        let programs = try Programs()
        var uri = try #require(URLComponents(string: try await TestPostgres.uri()))
        uri.user = "nobody_of_that_name"
        uri.password = "a-wrong-password"
        let (code, output) = try await programs.run(
            "sluice", "run --embedded", environment: ["SLUICE_POSTGRES_URI": try #require(uri.string)])
        #expect(code == 1)
        #expect(output.contains("28P01") && output.contains("correct postgres.uri"), "\(output)")
        #expect(!output.contains("a-wrong-password"))
    }

    /// Waits until a request is in flight beside the one that asks.
    private func isInFlight(_ port: UInt16) async throws -> Bool {
        try await eventually(every: .milliseconds(20)) {
            try await LoopbackHTTP.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port: port)
                .text.contains(/\nsluice_http_requests_in_flight [2-9]/)
        }
    }

    @Test func aSecondSignalEndsTheProcessAtOnce() async throws {
        for (second, code) in [(SIGINT, Int32(130)), (SIGTERM, 143)] {
            let programs = try Programs()
            let (process, port) = try await programs.ingress(environment: ["SLUICE_KAFKA_MESSAGE_TIMEOUT": "60s"])
            let connection = try LoopbackConnection(port: port)
            // A request that is under way holds the first signal's shutdown up.
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
            try #require(try await isInFlight(port))
            process.signal(SIGTERM)
            try #require(await eventually { process.output.contains("Stopping: signal received.") })
            try await Task.sleep(for: .milliseconds(600))
            process.signal(second)
            #expect(try await process.ended(within: .seconds(20)) == .exited(code), "\(process.output)")
            #expect(process.output.contains("Second signal"))
        }
    }

    /// The partitions of a member that has drained must not wait for its clients.
    @Test(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
    func theGroupIsLeftWhileARequestIsStillOpen() async throws {
        let programs = try Programs()
        let uri = try await TestPostgres.database(migrated: true)
        let (process, port) = try await programs.ingress(
            role: "all", environment: ["SLUICE_POSTGRES_URI": uri, "SLUICE_KAFKA_MESSAGE_TIMEOUT": "60s"])
        try #require(
            await eventually(within: .seconds(30)) { process.output.contains("Partitions claimed") }, "\(process.output)")
        let connection = try LoopbackConnection(port: port)
        try connection.send("POST /send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        try #require(try await isInFlight(port))
        process.signal(SIGTERM)
        // The HTTP server waits for the request as long as an acknowledgement may take.
        #expect(
            await eventually(within: .seconds(30)) { process.output.contains("Consumer group left.") }, "\(process.output)")
        #expect(!process.output.contains("Stopped."))
        connection.abort()
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }

    /// A request whose event is with the broker is answered by its acknowledgement, not by "may have been written".
    @Test func acknowledgementsAreWaitedForAtTheEnd() async throws {
        let programs = try Programs()
        let broker = try EmbeddedBroker.start(topics: [("messages", 1)])
        defer { broker.stop() }
        let process = try programs.start(
            "sluice", "run --role ingress",
            environment: [
                "SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "SLUICE_HTTP_SHUTDOWN_DELAY": "5s",
                "SLUICE_KAFKA_MESSAGE_TIMEOUT": "20s",
            ])
        @Sendable func port() -> UInt16? {
            process.output.firstMatch(of: /url=http:\/\/127\.0\.0\.1:(\d+)/).flatMap { UInt16($0.output.1) }
        }
        try #require(await eventually(within: .seconds(30)) { port() != nil }, "\(process.output)")
        let ingress = try #require(port())
        let event = #"{"action":"Upsert","message_id":1,"data":{"name":"n","message":"m"}}"#
        @Sendable func send() throws -> LoopbackHTTP.Answer {
            let connection = try LoopbackConnection(port: ingress)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: \(event.utf8.count)\r\n\r\n\(event)"
            )
            return try connection.answer()
        }
        try #require(await eventually(within: .seconds(30)) { (try? send())?.status == 200 }, "\(process.output)")
        try broker.setRoundTrip(.seconds(8))
        async let late = LoopbackConnection.blocking { try send() }
        try await Task.sleep(for: .milliseconds(300))
        process.signal(SIGTERM)
        try await Task.sleep(for: .milliseconds(300))
        // In the delay events are still taken.
        async let last = LoopbackConnection.blocking { try send() }
        for answer in try await [late, last] {
            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer.headers["connection"] == "close")
        }
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }

    @Test func theLoadGeneratorPresentsATokenAndTrustsAnAuthority() async throws {
        let programs = try Programs()
        guard try await programs.run("openssl", "version").code == 0 else { return print("SKIPPED: openssl is not installed") }
        let made = try await programs.run(
            "openssl",
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1 "
                + "-keyout \(programs.directory)/tls.key -out \(programs.directory)/tls.pem")
        try #require(made.code == 0, "\(made.output)")
        try programs.write("token", "a-token-of-20-letters\n")
        let (process, port) = try await programs.ingress(
            environment: [
                "SLUICE_HTTP_TOKENS": "{load: a-token-of-20-letters}",
                "SLUICE_HTTP_TLS_CERTIFICATE": "\(programs.directory)/tls.pem",
                "SLUICE_HTTP_TLS_KEY": "\(programs.directory)/tls.key",
            ])
        let load = "--target http --url https://127.0.0.1:\(port)/send --events 5 --connections 2"
        // The ingress takes events a moment after it listens.
        var right = try await programs.run("sluice-loadtest", "\(load) --token-file token --cacert tls.pem")
        for _ in 0..<20 where right.code != 0 {
            try await Task.sleep(for: .milliseconds(200))
            right = try await programs.run("sluice-loadtest", "\(load) --token-file token --cacert tls.pem")
        }
        #expect(right.code == 0, "\(right.output)")
        #expect(try await programs.run("sluice-loadtest", "\(load) --cacert tls.pem").code == 1, "without the token")
        #expect(try await programs.run("sluice-loadtest", "\(load) --token-file token").code == 1, "without the authority")
        process.signal(SIGTERM)
        #expect(try await process.ended(within: .seconds(30)) == .exited(0))
    }
}
