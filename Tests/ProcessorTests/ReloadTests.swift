// Proves when a changed configuration is loaded, what of it is applied, and what is logged.

import Backpressure
import Foundation
import Glibc
import Pipeline
import Settings
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite struct ReloadMachineTests {
    @Test func aChangeIsLoadedOnceItHasSettled() {
        var machine = ReloadMachine(started: 1)
        #expect(machine.checked(1) == .none)
        #expect(machine.checked(2) == .none, "the file may be half written")
        #expect(machine.checked(3) == .none)
        #expect(machine.checked(3) == .load)
        #expect(machine.checked(3) == .none, "loaded once, accepted or refused")
        #expect(machine.checked(3) == .none)
    }

    @Test func aChangeThatIsTakenBackIsNotLoaded() {
        var machine = ReloadMachine(started: 1)
        #expect(machine.checked(2) == .none)
        #expect(machine.checked(1) == .none)
        #expect(machine.checked(2) == .none)
        #expect(machine.checked(2) == .load)
        // Back to the first content, which is a change as well.
        #expect(machine.checked(1) == .none)
        #expect(machine.checked(1) == .load)
    }

    @Test func aRequestLoadsAtOnceAndEachTime() {
        var machine = ReloadMachine(started: 1)
        #expect(machine.requested(1) == .load)
        #expect(machine.requested(2) == .load)
        #expect(machine.checked(2) == .none)
        #expect(machine.checked(3) == .none)
        #expect(machine.requested(3) == .load)
        #expect(machine.checked(3) == .none)
    }

    @Test func generationsCountAppliedConfigurations() {
        var machine = ReloadMachine(started: 1)
        #expect(machine.generation == 1)
        #expect(machine.accepted(isDifferent: false) == 1)
        #expect(machine.accepted(isDifferent: true) == 2)
        #expect(machine.accepted(isDifferent: true) == 3)
    }
}

/// Keeps log lines.
private final class Lines: LogSink {
    private let kept = Mutex<[String]>([])
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    /// The lines since the last call.
    func take() -> [String] {
        kept.withLock { lines in
            defer { lines = [] }
            return lines
        }
    }
}

/// A configuration in a directory of its own, with its reloader.
private final class Fixture: Sendable {
    let directory: String
    let file: String
    let secret: String
    let registry = MetricsRegistry()
    let lines = Lines()
    let logger: Logger
    let applied = Shared<[SluiceSettings]>([])
    let unsupported = Shared<Fault?>(nil)
    let reloader: Reloader

    init(_ text: String = "") throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        file = directory + "/sluice.yaml"
        secret = directory + "/uri"
        try FileManager.default.copyItem(
            atPath: TestPostgres.checkout.path + "/examples/messages/mapping.yaml", toPath: directory + "/messages.yaml")
        try Self.write(text, to: file)
        try "host=db password=geheim".write(toFile: secret, atomically: true, encoding: .utf8)
        let configuration = try Configuration.load(path: file, environment: ["SLUICE_POSTGRES_URI_FILE": secret])
        logger = Logger(label: "test", sink: lines)
        reloader = Reloader(
            configuration, registry: registry, logger: logger, unsupported: { [unsupported] _ in unsupported.current },
            apply: { [applied] settings in applied.withLock { $0.append(settings) } })
        reloader.registerConsumeLimits(registry)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private static func write(_ text: String, to file: String) throws {
        try "mappings: [messages.yaml]\n\(text)\n".write(toFile: file, atomically: true, encoding: .utf8)
    }

    func write(_ text: String) throws { try Self.write(text, to: file) }

    /// Two checks, as in two seconds.
    func settle() async {
        await reloader.check(isRequested: false)
        await reloader.check(isRequested: false)
    }

    var metrics: [String] {
        String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
    }

    func said(_ parts: String...) -> Bool { lines.take().contains { line in parts.allSatisfy { line.contains($0) } } }
}

@Suite struct ReloaderTests {
    @Test func aChangedLimitIsAppliedOnceItHasSettled() async throws {
        let world = try Fixture("limits: {consume: {events_per_second: 100}}")
        #expect(world.metrics.contains("sluice_config_generation 1"))
        #expect(world.metrics.contains(#"sluice_consume_limit_events_per_second 100"#))
        await world.settle()
        #expect(world.applied.current.isEmpty && world.lines.take().isEmpty)
        try world.write("limits: {consume: {events_per_second: 250, topics: {messages: {bytes_per_second: 1KiB}}}}")
        await world.reloader.check(isRequested: false)
        #expect(world.applied.current.isEmpty, "the file may be half written")
        await world.reloader.check(isRequested: false)
        #expect(world.applied.current.map(\.limits.consume.all.events) == [250])
        #expect(world.metrics.contains("sluice_config_generation 2"))
        #expect(world.metrics.contains(#"sluice_consume_limit_events_per_second 250"#))
        #expect(world.metrics.contains(#"sluice_consume_limit_bytes_per_second{topic="messages"} 1024"#))
        let lines = world.lines.take()
        #expect(lines.contains { $0.contains("Setting changed. key=limits.consume.events_per_second from=100 to=250") })
        #expect(lines.contains { $0.contains("key=limits.consume.topics from={} to=") })
        #expect(lines.count == 3)
        await world.settle()
        #expect(world.applied.current.count == 1)
    }

    @Test func anInvalidFileChangesNothingAndIsLoggedOnceWithAllItsFaults() async throws {
        let world = try Fixture()
        try world.write("limits: {consume: {events_per_second: many}}\npipeline: {low_watermark: 7}\nnonsense: 1")
        await world.settle()
        await world.settle()
        let lines = world.lines.take()
        #expect(lines.count == 1)
        for part in [
            "warning", "refused", "sluice.yaml:2: limits.consume.events_per_second: must be",
            "sluice.yaml:3: pipeline.low_watermark",
            "sluice.yaml:4: nonsense: is not a known key",
        ] { #expect(lines.first?.contains(part) == true, "\(part) is not in \(lines)") }
        #expect(world.applied.current.isEmpty)
        #expect(world.metrics.contains("sluice_config_generation 1"))
        // A request logs it again.
        await world.reloader.check(isRequested: true)
        #expect(world.said("refused"))
        // A file that was removed changes nothing.
        try FileManager.default.removeItem(atPath: world.file)
        await world.settle()
        #expect(world.said("refused", "cannot be opened"))
        try world.write("")
        await world.settle()
        #expect(world.said("no value has changed"))
        #expect(world.metrics.contains("sluice_config_generation 1"))
    }

    @Test func aSettingThatNeedsARestartIsLoggedAndNotApplied() async throws {
        let world = try Fixture()
        try world.write("kafka: {group_id: other}\npostgres: {connections: 7}\napply: {batch_records: 77}")
        await world.reloader.check(isRequested: true)
        let settings = try #require(world.applied.current.first)
        #expect(settings.kafka.groupID == "sluice")
        #expect(settings.postgres.connections == 4)
        #expect(settings.apply.batchRecords == 77)
        #expect(settings.pipelineConfiguration.lanes == 4)
        let lines = world.lines.take()
        #expect(
            lines.contains {
                $0.contains("warning") && $0.contains("at the next restart. key=kafka.group_id from=sluice to=other")
            }
        )
        #expect(lines.contains { $0.contains("at the next restart. key=postgres.connections from=4 to=7") })
        // Logged once; a setting that is taken back is in force again.
        try world.write("kafka: {group_id: sluice}\npostgres: {connections: 7}\napply: {batch_records: 78}")
        await world.reloader.check(isRequested: true)
        let later = world.lines.take()
        #expect(!later.contains { $0.contains("postgres.connections") })
        #expect(later.contains { $0.contains("back at the value in force. key=kafka.group_id") })
        #expect(world.metrics.contains("sluice_config_generation 3"))
    }

    @Test func aRenewedClientCertificateIsNamed() async throws {
        let certificate = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString).pem").path
        try "one".write(toFile: certificate, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: certificate) }
        let world = try Fixture("kafka: {properties: {ssl.certificate.location: \(certificate)}}")
        await world.settle()
        #expect(world.lines.take().isEmpty)
        try "two".write(toFile: certificate, atomically: true, encoding: .utf8)
        await world.settle()
        #expect(world.said("warning", "Files of kafka.properties changed", "next restart", certificate))
        await world.settle()
        #expect(world.lines.take().isEmpty, "it is said once")
    }

    @Test func settingsThatTheWorkerDoesNotSupportChangeNothing() async throws {
        let world = try Fixture()
        world.unsupported.withLock { $0 = Fault(.defaults, "too little for 64 partitions: set it to 40 MiB at least") }
        try world.write("pipeline: {memory_budget_bytes: 16777216}")
        await world.settle()
        #expect(world.said("Changed configuration refused", "set it to 40 MiB at least"))
        #expect(world.applied.current.isEmpty && world.reloader.settings.pipeline.memoryBudget == 64 << 20)
        world.unsupported.withLock { $0 = nil }
        await world.reloader.check(isRequested: true)
        #expect(world.applied.current.last?.pipeline.memoryBudget == 16 << 20)
    }

    @Test func aBudgetChangesInPartAndTheLogNamesThePart() async throws {
        let world = try Fixture()
        try world.write("pipeline: {memory_budget_bytes: 128MiB}")
        await world.reloader.check(isRequested: true)
        #expect(world.said("Setting changed in part. key=pipeline.memory_budget_bytes from=64MiB to=128MiB", "prefetch"))
        #expect(world.reloader.settings.pipeline.memoryBudget == 128 << 20)
    }

    @Test func aSecretIsComparedAndNeverLogged() async throws {
        let world = try Fixture()
        try "host=db password=streng".write(toFile: world.secret, atomically: true, encoding: .utf8)
        await world.settle()
        let lines = world.lines.take()
        #expect(lines.contains { $0.contains("new connections use it. key=postgres.uri") && $0.contains("***") })
        #expect(!lines.contains { $0.contains("geheim") || $0.contains("streng") })
        #expect(world.metrics.contains("sluice_config_generation 2"))
    }

    @Test func aChangedMappingIsLogged() async throws {
        let world = try Fixture()
        let mapping = world.directory + "/messages.yaml"
        let text = try String(contentsOfFile: mapping, encoding: .utf8)
        try (text + "\n# a word\n").write(toFile: mapping, atomically: true, encoding: .utf8)
        await world.settle()
        #expect(world.said("Mapping changed; it takes effect at the next restart."))
        try text.write(toFile: mapping, atomically: true, encoding: .utf8)
        await world.settle()
        let lines = world.lines.take()
        #expect(lines.contains { $0.contains("Mapping is back at the one in force.") }, "\(lines)")
        #expect(!lines.contains { $0.contains("Mapping changed") }, "\(lines)")
        let hashed = text.replacingOccurrences(
            of: "{path: /data/name, type: text}", with: "{path: /data/name, type: text, hash: hmac-sha256, hash_key: key}")
        try "0123456789abcdef".write(toFile: world.directory + "/key", atomically: true, encoding: .utf8)
        try hashed.write(toFile: mapping, atomically: true, encoding: .utf8)
        await world.settle()
        _ = world.lines.take()
        await world.settle()
        #expect(!world.said("Mapping changed"))
        try "fedcba9876543210".write(toFile: world.directory + "/key", atomically: true, encoding: .utf8)
        await world.settle()
        #expect(world.said("Mapping changed; it takes effect at the next restart."), "its key file has changed")
        try "short".write(toFile: world.directory + "/key", atomically: true, encoding: .utf8)
        await world.settle()
        #expect(world.said("refused", "messages.yaml:", "has fewer than 16 bytes"))
        try (text + "\nnonsense: 1\n").write(toFile: mapping, atomically: true, encoding: .utf8)
        await world.settle()
        #expect(world.said("refused", "messages.yaml:", "nonsense"))
    }

    @Test func tokensAreLiveAndNeverLogged() async throws {
        let world = try Fixture("http: {tokens: {billing: sehr-geheimes-wort}, admin_token: ganz-geheimes-wort}")
        try world.write("http: {tokens: {billing: noch-geheimeres-wort, shop: auch-geheimes-wort}, connections: 7}")
        await world.settle()
        let http = try #require(world.applied.current.last?.http)
        #expect(http.tokens == ["billing": "noch-geheimeres-wort", "shop": "auch-geheimes-wort"])
        #expect(http.connections == 7)
        let lines = world.lines.take()
        #expect(lines.contains { $0.contains("Setting changed. key=http.tokens") })
        #expect(!lines.contains { $0.contains("geheim") }, "\(lines)")
        // Another address without tokens is refused, also in a running process.
        let elsewhere = try Fixture("http: {host: 0.0.0.0, tokens: {billing: sehr-geheimes-wort}}")
        try elsewhere.write("http: {host: 0.0.0.0}")
        await elsewhere.settle()
        #expect(elsewhere.said("refused", "unless there are tokens"))
        #expect(elsewhere.reloader.settings.http.tokens.count == 1)
    }

    /// A file that was cut or emptied opens no route.
    @Test func losingAllTokensIsNeverLive() async throws {
        let tokens = "tokens: {billing: sehr-geheimes-wort}, admin_token: ganz-geheimes-wort, metrics_token: auch-geheimes-wort"
        let world = try Fixture("http: {\(tokens)}")
        try world.write("http: {connections: 7}")
        await world.settle()
        let http = try #require(world.applied.current.last?.http)
        #expect(http.tokens == ["billing": "sehr-geheimes-wort"] && http.adminToken == "ganz-geheimes-wort")
        #expect(http.metricsToken == "auch-geheimes-wort" && http.connections == 7, "the rest is applied")
        let lines = world.lines.take()
        for key in ["http.tokens", "http.admin_token", "http.metrics_token"] {
            #expect(
                lines.contains { $0.contains("warning") && $0.contains("until the next restart") && $0.contains("key=\(key)") })
            #expect(!lines.contains { $0.contains("Setting changed. key=\(key)") })
        }
        // Nor with the next change; a token that takes its place is live.
        try world.write("http: {connections: 8, admin_token: neues-geheimes-wort}")
        await world.settle()
        let later = try #require(world.applied.current.last?.http)
        #expect(later.tokens == http.tokens && later.adminToken == "neues-geheimes-wort" && later.connections == 8)
        // A token that is kept gets no second purpose.
        try world.write("http: {metrics_token: sehr-geheimes-wort}")
        await world.settle()
        #expect(world.said("refused", "must not hold a token that has another purpose"))
    }

    @Test func aFileThatHoldsNothingChangesNothing() async throws {
        let world = try Fixture("limits: {consume: {events_per_second: 100}}")
        for file in [world.file, world.secret, world.directory + "/messages.yaml"] {
            let text = try String(contentsOfFile: file, encoding: .utf8)
            for nothing in ["", "\n\n"] {
                try nothing.write(toFile: file, atomically: true, encoding: .utf8)
                await world.settle()
                #expect(world.said("warning", "refused; the one in force stays", "holds nothing"), "\(file)")
            }
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            await world.settle()
            _ = world.lines.take()
        }
        #expect(world.applied.current.allSatisfy { $0.limits.consume.all.events == 100 })
        #expect(world.metrics.contains("sluice_config_generation 1"))
    }

    @Test func theLogLevelIsLive() async throws {
        let world = try Fixture()
        try world.write("log: {level: warning}")
        await world.reloader.check(isRequested: true)
        #expect(world.said("key=log.level from=info to=warning"))
        #expect(world.logger.level == .warning)
    }

    @Test func theLoopSeesChangesAndSIGHUP() async throws {
        let world = try Fixture()
        let (hangups, hangup) = AsyncStream.makeStream(of: Void.self)
        let loop = Task { await world.reloader.run(hangups: hangups) }
        try world.write("apply: {batch_records: 10}")
        #expect(await eventually { world.metrics.contains("sluice_config_generation 2") })
        try world.write("apply: {batch_records: 20}")
        hangup.yield()
        #expect(await eventually { world.metrics.contains("sluice_config_generation 3") })
        loop.cancel()
        await loop.value
    }

    @Test func aPipeIsReadOnce() async throws {
        let world = try Fixture()
        try FileManager.default.removeItem(atPath: world.file)
        #expect(mkfifo(world.file, 0o600) == 0)
        await world.reloader.check(isRequested: false)
        #expect(world.lines.take().isEmpty)
        await world.reloader.check(isRequested: true)
        #expect(world.said("can be read only once"))
    }
}
