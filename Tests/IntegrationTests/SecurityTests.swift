// Tests TLS, SASL and ACLs with a real Kafka.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Events go in and become rows over each kind of connection.
    @Test func eventsPassOverTLSAndSASL() async throws {
        try await secured("secure") { world, secure in
            try await secure.certificate("app")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for listener in [SecureKafka.Listener.tls, .mtls, .sasl, .saslTLS] {
                    group.addTask {
                        let worker = try await world.secureWorker(secure, listener, secure.properties(listener))
                        try await world.applies(1, worker, listener)
                        try #require(try await worker.terminate() == .exited(0))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// A token lives for four seconds, and the broker closes connections whose token has expired. So after two lives nothing passes
    /// unless it was refreshed.
    @Test func aProgramsTokensAreRefreshed() async throws {
        try await secured("token") { world, secure in
            let (program, runs) = (secure.path("token"), secure.path("runs"))
            try """
            #!/bin/sh
            part() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
            echo run >>'\(runs)'
            now=$(date +%s)
            header=$(printf '{"alg":"none"}' | part)
            claims=$(printf '{"sub":"app","iat":%d,"exp":%d}' "$now" "$((now + 4))" | part)
            echo "$header.$claims."

            """.write(toFile: program, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
            let worker = try await world.secureWorker(
                secure, .oauth, secure.properties(.oauth), ["SLUICE_KAFKA_TOKEN_COMMAND": program])
            try await world.applies(1, worker, .oauth)
            try await Task.sleep(for: .seconds(9))
            try await world.applies(2, worker, .oauth)
            let count = try String(contentsOfFile: runs, encoding: .utf8).split(separator: "\n").count
            print("token: \(count) runs of the program")
            // Four clients, each of which has needed a second token at least.
            try #require(count >= 8)
        }
    }

    /// The files of a client certificate are renewed while a worker runs. It says that it needs a restart; after it, once the former
    /// certificate has expired, it gets in with the renewed one.
    @Test func aRenewedCertificateIsUsedAfterARestart() async throws {
        try await secured("renewed") { world, secure in
            let end = Date(timeIntervalSinceNow: 15)
            try await secure.certificate("renewed", until: end)
            let properties = secure.properties(.mtls, certificate: "renewed")
            let first = try await world.secureWorker(secure, .mtls, properties)
            try await world.applies(1, first, .mtls)
            try await secure.certificate("renewed")
            try await world.reached("the worker says that it needs a restart") {
                first.process.output.contains("Restart before the former ones expire.")
            }
            try #require(first.process.output.contains(secure.path("renewed.crt")))
            try #require(try await first.terminate() == .exited(0))
            try await Task.sleep(for: .seconds(max(0, end.timeIntervalSinceNow + 1)))
            let second = try await world.secureWorker(secure, .mtls, properties)
            try await world.applies(2, second, .mtls)
        }
    }

    /// READ is taken away and given back: the partitions stop, `/readyz` says why, and they go on by themselves.
    @Test func aDeniedReadIsWaitedFor() async throws {
        try await secured("denied") { world, secure in
            // What kafka-acls.sh runs.
            let acl = [
                "org.apache.kafka.tools.AclCommand", "--bootstrap-server", secure.server.bootstrapServers, "--topic", world.topic,
            ]
            let denied = ["--deny-principal", "User:app", "--operation", "Read"]
            // A topic with any ACL is closed for all who have none.
            try await secure.server.tool(
                "kafka-run-class.sh", acl + ["--add", "--allow-principal", "User:*", "--operation", "All"])
            let worker = try await world.secureWorker(
                secure, .sasl, secure.properties(.sasl), ["SLUICE_PIPELINE_RECHECK_INTERVAL": "2s"])
            try await world.applies(1, worker, .sasl)
            try await secure.server.tool("kafka-run-class.sh", acl + ["--add"] + denied)
            // The brokers hear of it a moment after the tool has ended: an event that came before would still be read.
            try await world.reached("/readyz names the reason") {
                try await worker.get("/readyz").body.contains("Topic authorization failed")
            }
            let event = try await worker.send(world.event(2))
            try #require(event.status == 200, "\(event.body)")
            try await Task.sleep(for: .seconds(1))
            try #require(try await world.number("SELECT count(*) FROM messages WHERE message_id = 2") == 0)
            try await secure.server.tool("kafka-run-class.sh", acl + ["--remove", "--force"] + denied)
            let start = ContinuousClock.now
            try await world.applies(3, worker, .sasl)
            try await world.reached("the event that was denied is applied") {
                try await world.number("SELECT count(*) FROM messages WHERE message_id = 2") == 1
            }
            print("denied: read again \(ContinuousClock.now - start) after the ACL was removed")
            try await world.reached("/readyz names no stopped partition") {
                try await !worker.get("/readyz").body.contains("stopped")
            }
        }
    }

    /// `check-config --connect` and the start say in one sentence why Kafka lets nobody in.
    @Test func aRefusedConnectionIsExplained() async throws {
        try await secured("refused") { world, secure in
            try await secure.certificate("app")
            try await secure.certificate("expired", until: Date(timeIntervalSinceNow: -60))
            var foreign = secure.properties(.tls)
            foreign["ssl.ca.location"] = secure.path("stranger.pem")
            var wrong = secure.properties(.sasl)
            wrong["sasl.password"] = "wr0ng"
            let cases: [(name: String, listener: SecureKafka.Listener?, properties: [String: String], reason: String)] = [
                ("wrong-ca", .tls, foreign, "broker certificate could not be verified, verify that ssl.ca.location is"),
                ("wrong-password", .sasl, wrong, "Authentication failed: Invalid username or password"),
                ("expired", .mtls, secure.properties(.mtls, certificate: "expired"), "it may have expired"),
                ("no-certificate", .mtls, secure.properties(.tls), "the broker asks for a client certificate"),
                ("tls-at-plain", nil, secure.properties(.tls), "the listener may not be one of TLS; compare security.protocol"),
                ("plain-at-tls", .tls, [:], "security.protocol"), ("plain-at-sasl", .sasl, [:], "security.protocol"),
                ("other-mechanism", .oauth, secure.properties(.sasl), "broker's supported mechanisms: OAUTHBEARER"),
            ]
            let file = try world.configuration()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (name, listener, properties, reason) in cases {
                    var environment = try secure.environment(listener, group: name, properties)
                    environment["SLUICE_POSTGRES_URI"] = world.database
                    let variables = environment
                    group.addTask {
                        @Sendable func says(_ process: ChildProcess, _ event: String) -> Bool {
                            process.output.split(separator: "\n").contains { $0.contains(event) && $0.contains(reason) }
                        }
                        let run = try world.start(
                            "sluice", ["run", "--config", file], named: "run-\(name)", environment: variables)
                        // It waits for five seconds, in which a busy machine may not have tried to connect.
                        for attempt in 1... {
                            let check = try world.start(
                                "sluice", ["check-config", "--connect", "--config", file], named: "check-\(name)-\(attempt)",
                                environment: variables)
                            try #require(try await check.ended(within: .seconds(60)) == .exited(1))
                            try #require(!check.output.contains("wr0ng"))
                            if says(check, "The check of Kafka failed.") { break }
                            try #require(attempt < 4, "\(name): \(check.output)")
                        }
                        try await world.reached("\(run.log) says: \(reason)", within: .seconds(60)) {
                            says(run, "Server not available")
                        }
                        try #require(!run.output.contains("wr0ng"))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// Runs a test on the broker with secure listeners.
    private func secured(_ name: String, _ body: (World, SecureKafka) async throws -> Void) async throws {
        guard KafkaServer.home != nil else { return try await World.run(name, partitions: 2) { _ in } }
        let secure = try SecureKafka.shared.get()
        try await secure.prepare()
        try await World.run(name, partitions: 2, kafka: secure.server) { try await body($0, secure) }
    }
}

extension World {
    /// An event of one row.
    fileprivate func event(_ id: Int) -> String {
        #"{"action":"Upsert","message_id":\#(id),"data":{"name":"n","message":"m"}}"#
    }

    private func group(_ listener: SecureKafka.Listener) -> String { "\(group)-\(listener.name)" }

    /// Starts `sluice run` of role all as a client of a listener, in a group of its own.
    fileprivate func secureWorker(
        _ secure: SecureKafka, _ listener: SecureKafka.Listener, _ properties: [String: String], _ more: [String: String] = [:]
    ) async throws -> Worker {
        let environment = try secure.environment(listener, group: group(listener), properties)
        return try await worker(listener.name, role: "all", environment.merging(more) { $1 })
    }

    /// Posts an event, and waits until its row is written and the worker's own group has read it.
    fileprivate func applies(_ id: Int, _ worker: Worker, _ listener: SecureKafka.Listener) async throws {
        let read = "SELECT coalesce(sum(next_offset), 0)::int8 FROM sluice_offsets WHERE consumer_group = '\(group(listener))'"
        let before = try await number(read)
        try await reached("POST /send is accepted over \(listener)") {
            try await worker.send(self.event(id)).status == 200
        }
        try await reached("event \(id) is applied over \(listener)") {
            let rows = try await self.number("SELECT count(*) FROM messages WHERE message_id = \(id)")
            let offset = try await self.number(read)
            return rows == 1 && offset > before
        }
    }
}
