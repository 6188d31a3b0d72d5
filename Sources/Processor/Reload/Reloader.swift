// Owns the settings in force: checks their files, and applies changes while the process runs.

import Admission
import Backpressure
import Dispatch
import HTTPServer
import Settings
import Synchronization
import Telemetry

/// Checks the files every second and at SIGHUP. A changed configuration is validated as at the start; one with a fault changes nothing.
/// A valid one is applied to one part of the process after the other.
final class Reloader: Sendable {
    private struct State: ~Copyable {
        /// What was loaded last, with which the next is compared.
        var loaded: EffectiveSettings<SluiceSettings>
        /// The same, but with the values of the start for settings that need a restart.
        var inForce: SluiceSettings
        var content: ConfigurationFiles.Content?
        var machine: ReloadMachine
    }

    /// Settings that take effect partly at once and partly at a restart.
    private static let partlyLive = [
        "pipeline.memory_budget_bytes": "credits are resized now, librdkafka's prefetch at the next restart"
    ]

    private let files: ConfigurationFiles
    private let started: EffectiveSettings<SluiceSettings>
    /// The digest of the mapping files at the start.
    private let startedMappings: Int?
    private let logger: Logger
    private let generation: Gauge
    private let unsupported: @Sendable (SluiceSettings) -> Fault?
    private let apply: @Sendable (SluiceSettings) async throws -> Void
    private let applyCertificate: @Sendable (TLSIdentity) -> Void
    private let state: Mutex<State>
    private let mutex = AsyncMutex()
    private let fileQueue = DispatchQueue(label: "sluice.configuration")

    /// - Parameters:
    ///   - unsupported: why valid settings cannot be applied to the running process; `nil`: they can.
    ///   - apply: applies settings; called once for each change, never concurrently.
    ///   - applyCertificate: uses another certificate, from the same files, for new connections.
    init(
        _ configuration: Configuration, registry: MetricsRegistry, logger: Logger,
        unsupported: @escaping @Sendable (SluiceSettings) -> Fault? = { _ in nil },
        apply: @escaping @Sendable (SluiceSettings) async throws -> Void,
        applyCertificate: @escaping @Sendable (TLSIdentity) -> Void = { _ in }
    ) {
        files = configuration.files
        started = configuration.effective
        startedMappings = configuration.content?.mappings
        self.logger = logger
        self.unsupported = unsupported
        self.apply = apply
        self.applyCertificate = applyCertificate
        generation = registry.gauge(
            "sluice_config_generation", help: "Configurations applied since the start, that of the start included.")
        generation.set(1)
        state = Mutex(
            State(
                loaded: configuration.effective, inForce: configuration.settings, content: configuration.content,
                machine: ReloadMachine(started: configuration.content?.digest ?? 0)))
    }

    /// The settings in force.
    var settings: SluiceSettings { state.withLock { $0.inForce } }

    /// Checks the files until cancelled.
    func run(hangups: AsyncStream<Void>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in hangups { await self.check(isRequested: true) } }
            group.addTask {
                while !Task.isCancelled {
                    await self.check(isRequested: false)
                    do { try await Task.sleep(for: .seconds(1)) } catch { return }
                }
            }
        }
    }

    /// Applies the settings in force once more, for a part of the process that has just started.
    /// - Throws: `CancellationError`.
    func applyAgain() async throws {
        try await mutex.lock()
        defer { mutex.unlock() }
        try await apply(settings)
    }

    /// Checks the files once, and loads them if they have changed or a reload is requested.
    func check(isRequested: Bool) async {
        do {
            try await mutex.lock()
        } catch {
            // Cancelled: the process is stopping.
            return
        }
        await checkLocked(isRequested: isRequested)
        mutex.unlock()
    }

    private func checkLocked(isRequested: Bool) async {
        let files = self.files
        guard let content = await onFileQueue({ files.read() }) else {
            if isRequested { logger.warning("Configuration not reloaded: it came from a pipe, which can be read only once.") }
            return
        }
        let action = state.withLock { state in
            isRequested ? state.machine.requested(content.digest) : state.machine.checked(content.digest)
        }
        guard action == .load else { return }
        let loaded: Result<Configuration, SettingsFaults> = await onFileQueue {
            do throws(SettingsFaults) { return .success(try files.load()) } catch { return .failure(error) }
        }
        do throws(SettingsFaults) {
            try await accept(try loaded.get())
        } catch {
            logger.warning(
                "Changed configuration refused; the one in force stays.",
                ["faults": error.faults.map(\.description).joined(separator: "; "), "file": files.path ?? "none"])
        }
    }

    private func accept(_ configuration: Configuration) async throws(SettingsFaults) {
        let (before, running) = state.withLock { ($0.loaded, $0.inForce) }
        var loaded = configuration.settings
        let kept = loaded.http.keepTokens(of: running.http)
        let settings = try SluiceSettings.schema.adopting(loaded, into: running)
        if let fault = unsupported(configuration.settings) ?? unsupported(settings) { throw SettingsFaults([fault]) }
        let changes = before.changes(to: configuration.effective)
        let content = configuration.content
        let known = state.withLock { $0.content }
        let hasOtherMappings = known?.mappings != content?.mappings
        let hasOtherCertificate = known?.certificates != content?.certificates
        let hasOtherKafkaFiles = known?.kafka != content?.kafka
        let isDifferent = !changes.isEmpty || hasOtherMappings || hasOtherCertificate || hasOtherKafkaFiles
        let number = state.withLock { state in
            state.loaded = configuration.effective
            state.inForce = settings
            state.content = content
            return state.machine.accepted(isDifferent: isDifferent)
        }
        do {
            try await apply(settings)
        } catch {
            // Cancelled: the process is stopping.
            return
        }
        generation.set(number)
        guard isDifferent else {
            logger.info("Configuration reloaded; no value has changed.", ["generation": number])
            return
        }
        let differing = Set(started.changes(to: configuration.effective).map(\.key))
        for change in changes {
            if kept.contains(change.key) {
                logger.warning(
                    "Tokens were removed; they stay in force until the next restart. To revoke one now, replace it.",
                    ["key": change.key])
            } else {
                log(change, isBack: !differing.contains(change.key))
            }
        }
        if hasOtherMappings, content?.mappings == startedMappings {
            logger.info("Mapping is back at the one in force.", ["mappings": "\(settings.mappingFiles)"])
        } else if hasOtherMappings {
            logger.warning("Mapping changed; it takes effect at the next restart.", ["mappings": "\(settings.mappingFiles)"])
        }
        if hasOtherKafkaFiles {
            logger.warning(
                "Files of kafka.properties changed; Kafka clients read them at the next restart. Restart before the former ones expire.",
                ["files": settings.kafka.files.joined(separator: ", ")])
        }
        if hasOtherCertificate { reloadCertificate(configuration, before: settings.http) }
        logger.info("Configuration reloaded.", ["generation": number])
        // Last, so that the lines above are written at the level that was in force.
        logger.setLevel(settings.log.level)
    }

    /// The content of the files takes effect at once; other files, and TLS itself, need a restart.
    private func reloadCertificate(_ configuration: Configuration, before: HTTPSettings) {
        guard let files = before.certificateFiles, let loaded = configuration.settings.http.certificateFiles, files == loaded,
            let identity = configuration.identity
        else { return }
        applyCertificate(identity)
        logger.info(
            "TLS certificate reloaded.",
            ["certificate": files.certificate, "expires": Int(identity.expires)])
    }

    private func log(_ change: SettingsChange, isBack: Bool) {
        let (from, to) = change.isSecret ? ("***", "*** (changed)") : (change.before, change.after)
        switch change.reload {
        case .live:
            if let how = Self.partlyLive[change.key] {
                logger.warning("Setting changed in part.", ["key": change.key, "from": from, "to": to, "how": how])
            } else {
                logger.info("Setting changed.", ["key": change.key, "from": from, "to": to])
            }
        case .restart where change.key == "postgres.uri" && settings.postgres.uriFile != nil:
            logger.info("Connection string changed; new connections use it.", ["key": change.key, "from": from, "to": to])
        case .restart where isBack:
            logger.info("Setting is back at the value in force.", ["key": change.key, "from": from, "to": to])
        case .restart:
            logger.warning("Setting changed; it takes effect at the next restart.", ["key": change.key, "from": from, "to": to])
        }
    }

    /// Runs `body`, which reads files, on a thread that may block.
    private func onFileQueue<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
        await withCheckedContinuation { continuation in fileQueue.async { continuation.resume(returning: body()) } }
    }
}

extension HTTPSettings {
    /// Takes over tokens that a reload has removed without leaving any: a file that was cut, or emptied, must not open a route.
    /// - Returns: the keys of these tokens.
    fileprivate mutating func keepTokens(of running: HTTPSettings) -> Set<String> {
        var kept: Set<String> = []
        if tokens.isEmpty, !running.tokens.isEmpty {
            tokens = running.tokens
            kept.insert("http.tokens")
        }
        for (token, key) in [(\HTTPSettings.adminToken, "http.admin_token"), (\.metricsToken, "http.metrics_token")]
        where self[keyPath: token].isEmpty && !running[keyPath: token].isEmpty {
            self[keyPath: token] = running[keyPath: token]
            kept.insert(key)
        }
        return kept
    }
}

extension Reloader {
    /// Registers the metrics of `limits.consume`.
    func registerConsumeLimits(_ registry: MetricsRegistry) {
        for isBytes in [false, true] {
            registry.collector(
                "sluice_consume_limit_\(isBytes ? "bytes" : "events")_per_second", type: .gauge,
                help: "Limit of limits.consume in force: of a topic, or without a topic of all topics together; 0: no limit."
            ) { [weak self] sink in
                guard let limits = self?.settings.limits.consume else { return }
                sink.sample(isBytes ? limits.all.bytes : limits.all.events)
                for (topic, rates) in limits.topics.sorted(by: { $0.key < $1.key }) {
                    sink.sample(isBytes ? rates.bytes : rates.events, ["topic": topic])
                }
            }
        }
    }
}
