// Owns the settings in force: watches the files they come from, and puts what has changed into force while the process runs.

import Admission
import Backpressure
import Dispatch
import HTTPServer
import Settings
import Synchronization
import Telemetry

/// Looks at the files every second and at SIGHUP. A change is checked as at the start and put into force as a whole, or refused as a whole.
final class Reloader: Sendable {
    private struct State: ~Copyable {
        /// What was loaded last: the next change is told from here.
        var loaded: EffectiveSettings<SluiceSettings>
        /// The same with everything that takes a restart as it was at the start.
        var inForce: SluiceSettings
        var mappings: Int
        var certificates: Int
        var machine: ReloadMachine
    }

    /// Keys of which only a part takes effect at once.
    private static let partly = [
        "pipeline.memory_budget_bytes": "the batches follow at once, librdkafka's prefetch at the next start"
    ]

    private let files: ConfigurationFiles
    private let started: EffectiveSettings<SluiceSettings>
    private let logger: Logger
    private let generation: Gauge
    private let obstacle: @Sendable (SluiceSettings) -> Fault?
    private let apply: @Sendable (SluiceSettings) async throws -> Void
    private let show: @Sendable (TLSIdentity) -> Void
    private let state: Mutex<State>
    private let turn = AsyncMutex()
    private let disk = DispatchQueue(label: "sluice.configuration")

    /// - Parameters:
    ///   - obstacle: why settings that are valid cannot be put into force by what runs now; `nil`: they can.
    ///   - apply: puts settings into force; called once for each change, never twice at a time.
    ///   - show: shows another certificate, from the same files, to who connects.
    init(
        _ configuration: Configuration, registry: MetricsRegistry, logger: Logger,
        obstacle: @escaping @Sendable (SluiceSettings) -> Fault? = { _ in nil },
        apply: @escaping @Sendable (SluiceSettings) async throws -> Void,
        show: @escaping @Sendable (TLSIdentity) -> Void = { _ in }
    ) {
        files = configuration.files
        started = configuration.effective
        self.logger = logger
        self.obstacle = obstacle
        self.apply = apply
        self.show = show
        generation = registry.gauge(
            "sluice_config_generation", help: "Configurations put into force since the start, which is 1.")
        generation.set(1)
        let content = configuration.content
        state = Mutex(
            State(
                loaded: configuration.effective, inForce: configuration.settings, mappings: content?.mappings ?? 0,
                certificates: content?.certificates ?? 0, machine: ReloadMachine(inForce: content?.digest ?? 0)))
    }

    /// What is in force now.
    var settings: SluiceSettings { state.withLock { $0.inForce } }

    /// Watches until cancelled.
    func run(hangups: AsyncStream<Void>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in hangups { await self.look(isAsked: true) } }
            group.addTask {
                while !Task.isCancelled {
                    await self.look(isAsked: false)
                    do { try await Task.sleep(for: .seconds(1)) } catch { return }
                }
            }
        }
    }

    /// Puts what is in force into force once more, for a part that has just come to be.
    /// - Throws: `CancellationError`.
    func applyAgain() async throws {
        try await turn.lock()
        let result: Result<Void, any Error>
        do { result = .success(try await apply(settings)) } catch { result = .failure(error) }
        turn.unlock()
        try result.get()
    }

    /// Looks at the files once, and loads them where they have changed or somebody asks for it.
    func look(isAsked: Bool) async {
        do {
            try await turn.lock()
        } catch {
            // Cancelled: the process ends.
            return
        }
        await takeTurn(isAsked: isAsked)
        turn.unlock()
    }

    private func takeTurn(isAsked: Bool) async {
        let files = self.files
        guard let content = await onDisk({ files.read() }) else {
            if isAsked { logger.warning("The configuration came from a pipe and cannot be read again; nothing has changed.") }
            return
        }
        let action = state.withLock { state in
            isAsked ? state.machine.asked(content.digest) : state.machine.looked(content.digest)
        }
        guard action == .load else { return }
        let loaded: Result<Configuration, SettingsFaults> = await onDisk {
            do throws(SettingsFaults) { return .success(try files.load()) } catch { return .failure(error) }
        }
        do throws(SettingsFaults) {
            try await accept(try loaded.get())
        } catch {
            logger.warning(
                "The changed configuration is refused; nothing has changed.",
                ["faults": error.faults.map(\.description).joined(separator: "; "), "file": files.path ?? "none"])
        }
    }

    private func accept(_ configuration: Configuration) async throws(SettingsFaults) {
        let (before, running) = state.withLock { ($0.loaded, $0.inForce) }
        let settings = try SluiceSettings.schema.adopting(configuration.settings, into: running)
        if let fault = obstacle(configuration.settings) ?? obstacle(settings) { throw SettingsFaults([fault]) }
        let changes = before.changes(to: configuration.effective)
        let mappings = configuration.content?.mappings ?? 0
        let hasOtherMappings = state.withLock { state in
            defer { state.mappings = mappings }
            return state.mappings != mappings
        }
        let certificates = configuration.content?.certificates ?? 0
        let hasOtherCertificate = state.withLock { state in
            defer { state.certificates = certificates }
            return state.certificates != certificates
        }
        let isDifferent = !changes.isEmpty || hasOtherMappings || hasOtherCertificate
        let number = state.withLock { state in
            state.loaded = configuration.effective
            state.inForce = settings
            return state.machine.accepted(isDifferent: isDifferent)
        }
        do {
            try await apply(settings)
        } catch {
            // Cancelled: the work ends, and nobody needs other limits.
            return
        }
        generation.set(number)
        guard isDifferent else {
            logger.info("The configuration was read again; no value has changed.", ["generation": number])
            return
        }
        let differing = Set(started.changes(to: configuration.effective).map(\.key))
        for change in changes { log(change, isBack: !differing.contains(change.key)) }
        if hasOtherMappings {
            logger.warning("A mapping has changed; that takes effect at the next start.", ["mappings": "\(settings.mappings)"])
        }
        if hasOtherCertificate { show(configuration, before: settings.http) }
        logger.info("A changed configuration is in force.", ["generation": number])
        // Last, so that the lines above are under the level they were made under.
        logger.setLevel(settings.log.level)
    }

    /// What is in the files takes effect at once; other files, and TLS itself, do so at the next start.
    private func show(_ configuration: Configuration, before: HTTPSettings) {
        guard let files = before.certificateFiles, let loaded = configuration.settings.http.certificateFiles, files == loaded,
            let identity = configuration.identity
        else { return }
        show(identity)
        logger.info(
            "Another TLS certificate is shown to who connects.",
            ["certificate": files.certificate, "expires": Int(identity.expires)])
    }

    private func log(_ change: SettingsChange, isBack: Bool) {
        let (from, to) = change.isSecret ? ("***", "*** (changed)") : (change.before, change.after)
        switch change.reload {
        case .live:
            if let how = Self.partly[change.key] {
                logger.warning("A setting has changed in part.", ["key": change.key, "from": from, "to": to, "how": how])
            } else {
                logger.info("A setting has changed.", ["key": change.key, "from": from, "to": to])
            }
        case .restart where isBack:
            logger.info("A setting is back at the value in force.", ["key": change.key, "from": from, "to": to])
        case .restart:
            logger.warning("A setting takes effect at the next start.", ["key": change.key, "from": from, "to": to])
        }
    }

    /// Files are read on a thread that may block.
    private func onDisk<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
        await withCheckedContinuation { continuation in disk.async { continuation.resume(returning: body()) } }
    }
}

extension Reloader {
    /// Shows the rates of reading in force.
    func registerConsumeLimits(_ registry: MetricsRegistry) {
        registry.collector(
            "sluice_consume_limit", type: .gauge,
            help: "Limit of reading a second in force, of a topic, or without a topic of all together; 0: no limit."
        ) { [weak self] sink in
            guard let limits = self?.settings.limits.consume.limits else { return }
            sink.sample(limits.all.events, ["unit": "events"])
            sink.sample(limits.all.bytes, ["unit": "bytes"])
            for (topic, rates) in limits.topics.sorted(by: { $0.key < $1.key }) {
                sink.sample(rates.events, ["topic": topic, "unit": "events"])
                sink.sample(rates.bytes, ["topic": topic, "unit": "bytes"])
            }
        }
    }
}
