// Owns the life of `sluice run`: start, serve, drain, end.

import Admission
import Backpressure
import Decode
import Dispatch
import Foundation
import HTTPServer
import Kafka
import Pipeline
import Synchronization
import Telemetry

/// A running process. Each step of the start waits for what it needs, and a signal ends any of them.
struct RunCommand {
    let configuration: Configuration
    let role: Role
    let isEmbedded: Bool
    let brokerFile: String?
    let logger: Logger
    private let registry = MetricsRegistry()
    private let parts = Parts()
    private let bounds: BatchBounds
    private let reloader: Reloader

    init(configuration: Configuration, role: Role, isEmbedded: Bool, brokerFile: String?, logger: Logger) {
        self.configuration = configuration
        self.role = role
        self.isEmbedded = isEmbedded
        self.brokerFile = brokerFile
        self.logger = logger
        let bounds = BatchBounds(configuration.settings.http)
        self.bounds = bounds
        reloader = Reloader(
            configuration, registry: registry, logger: logger.child("configuration"),
            unsupported: { [parts] in parts.worker?.obstacle(in: $0) },
            apply: { [parts] settings in
                bounds.update(settings.http)
                parts.httpReloader?.update(settings.http)
                parts.limits?.update(settings)
                parts.shedding?.update(settings.limits.shed.limits)
                try await parts.worker?.reconfigure(settings)
            }, applyCertificate: { [parts] in parts.httpReloader?.update($0) })
    }

    /// What is in force now; what takes a restart is as it was at the start.
    private var settings: SluiceSettings { reloader.settings }

    /// Runs until a signal has been obeyed.
    func run() async throws {
        let signals = Signals()
        registry.registerProcessMetrics()
        if role != .ingress { reloader.registerConsumeLimits(registry) }
        let broker = isEmbedded ? try await BrokerProcess.start(topics: configuration.mapping.topics) : nil
        if let broker {
            logger.info("An embedded broker is running.", ["bootstrap_servers": broker.bootstrapServers])
            if let brokerFile {
                try Data("\(broker.bootstrapServers)\n".utf8).write(to: URL(fileURLWithPath: brokerFile), options: .atomic)
            }
        }
        let client = kafkaClient(bootstrapServers: broker?.bootstrapServers ?? settings.kafka.bootstrapServers)
        let eventProducer =
            role == .worker ? nil : EventProducer(mapping: configuration.mapping, registry: registry, bounds: bounds)
        let telemetry =
            role == .ingress
            ? nil : WorkerTelemetry(group: settings.kafka.groupID, registry: registry, logger: logger.child("worker"))
        if eventProducer != nil { parts.started(IngressShedding(settings.limits.shed.limits, registry: registry)) }
        let outside = role == .worker ? nil : groupWatch()
        let health = Health(role: role, eventProducer: eventProducer, shedding: parts.shedding) { telemetry?.snapshot }
        let authorizer = RequestAuthorizer(settings.http)
        let admin = role == .ingress ? nil : adminController(authorizer)
        let server = try startServer(eventProducer: eventProducer, admin: admin, authorizer: authorizer, health: health)
        let scheme = configuration.identity == nil ? "http" : "https"
        logger.info(
            "Listening.", ["url": "\(scheme)://\(settings.http.host):\(server.port)", "role": role.rawValue])

        let outcome = await work(client, eventProducer, outside, admin, telemetry, health, signals)
        // A lane that waits for the server must not hold up a process that has failed.
        if case .failure = outcome { parts.worker?.abandon() }
        await close(server)
        await broker?.stop()
        try outcome.get()
    }

    /// Works until the work ends by itself, or a signal has been obeyed.
    private func work(
        _ client: KafkaClientConfiguration, _ eventProducer: EventProducer?, _ outside: GroupLagMonitor?,
        _ admin: AdminController?,
        _ telemetry: WorkerTelemetry?, _ health: Health, _ signals: Signals
    ) async -> Result<Void, any Error> {
        await withTaskGroup(of: Result<Void, any Error>.self) { group in
            group.addTask {
                do {
                    return .success(
                        try await self.serve(
                            client, eventProducer: eventProducer, outside: outside, admin: admin, telemetry: telemetry,
                            health: health))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                guard let signal = await signals.next() else { return .success(()) }
                self.logger.info("Stopping.", ["signal": signal == SIGINT ? "SIGINT" : "SIGTERM"])
                health.entered("stopping")
                self.endAnyway()
                eventProducer?.stop()
                await self.drain()
                return .success(())
            }
            group.addTask {
                await self.reloader.run(hangups: signals.hangups)
                return .success(())
            }
            // Whoever ends first ends the others: after a signal that is the work, once it is drained, or the deadline.
            defer { group.cancelAll() }
            return await group.next() ?? .success(())
        }
    }

    // MARK: Start

    private func adminController(_ authorizer: RequestAuthorizer) -> AdminController {
        AdminController(
            authorizer: authorizer, topics: configuration.mapping.topics, logger: logger.child("operator"))
    }

    private func ingressLimits() -> IngressLimits {
        let limits = IngressLimits(settings)
        limits.register(on: registry)
        parts.started(limits)
        return limits
    }

    /// How far the group is behind, for a door whose pipeline has no partition, or that has no pipeline: then it is in the metrics, too.
    private func groupWatch() -> GroupLagMonitor {
        let watch = GroupLagMonitor(
            topics: configuration.mapping.topics, interval: { [reloader] in reloader.settings.pipeline.lagInterval },
            logger: logger.child("group"))
        if role == .ingress {
            GroupCollectors.register(on: registry.sharedCollector { watch.sample() }, group: settings.kafka.groupID)
        }
        return watch
    }

    /// What is known of the pipe: from the pipeline here; and from Kafka where others have partitions, or PostgreSQL has not been reached yet.
    private func sheddingInputs(_ outside: GroupLagMonitor?, _ telemetry: WorkerTelemetry?, now: UInt64) -> SheddingInputs {
        let interval = settings.pipeline.lagInterval.inSeconds
        let snapshot = telemetry?.snapshot
        let inputs = snapshot.map { SheddingInputs($0, lagInterval: interval, now: now) } ?? SheddingInputs()
        guard let group = outside?.sample(), group.partitions.count > snapshot?.positions.count ?? 0 else { return inputs }
        return inputs.merged(with: SheddingInputs(group, lagInterval: interval, now: now))
    }

    private func startServer(
        eventProducer: EventProducer?, admin: AdminController?, authorizer: RequestAuthorizer, health: Health
    ) throws -> HTTPServer {
        let http = settings.http
        let identity = configuration.identity
        let log = logger.child("http")
        let routes = Routes(
            role: role, eventProducer: eventProducer, limits: eventProducer == nil ? nil : ingressLimits(),
            shedding: parts.shedding, admin: admin,
            authorizer: authorizer, registry: registry, health: health)
        let server = try HTTPServer.start(configuration: http.server(identity: identity), handler: routes) { level, sentence in
            switch level {
            case .debug: log.debug("The HTTP server says.", ["message": sentence])
            case .warning: log.warning("The HTTP server says.", ["message": sentence])
            case .error: log.error("The HTTP server says.", ["message": sentence])
            }
        }
        if identity == nil, !HTTPSettings.isLoopback(http.host) {
            log.warning(
                "Tokens and events travel in the clear.",
                ["remedy": "set http.tls_certificate and http.tls_key, or put a proxy that speaks TLS in front"])
        }
        let httpReloader = HTTPServerReloader(server, http: http, identity: identity, authorizer: authorizer, logger: log)
        httpReloader.register(registry)
        parts.started(httpReloader)
        return server
    }

    private func kafkaClient(bootstrapServers: String) -> KafkaClientConfiguration {
        let log = logger.child("librdkafka")
        return KafkaClientConfiguration(
            bootstrapServers: bootstrapServers, clientID: settings.kafka.clientID, properties: settings.kafka.properties
        ) { level, sentence in
            switch level {
            case .debug: log.debug("librdkafka says.", ["message": sentence])
            case .info: log.info("librdkafka says.", ["message": sentence])
            case .warning: log.warning("librdkafka says.", ["message": sentence])
            case .error: log.error("librdkafka says.", ["message": sentence])
            }
        }
    }

    /// Waits for Kafka and PostgreSQL, then works until cancelled.
    private func serve(
        _ client: KafkaClientConfiguration, eventProducer: EventProducer?, outside: GroupLagMonitor?, admin: AdminController?,
        telemetry: WorkerTelemetry?, health: Health
    ) async throws {
        let metadata = try KafkaMetadata.start(client, groupID: settings.kafka.groupID)
        parts.started(metadata)
        health.entered("waiting for Kafka")
        let partitions = try await StartUp.topics(configuration.mapping.topics, metadata, logger)
        if let eventProducer { try await bindProducer(eventProducer, client) }
        // These end with this scope.
        async let _: Void? = outside?.run(KafkaGroupOffsets(metadata: metadata))
        async let _: Void? = parts.shedding?.run { sheddingInputs(outside, telemetry, now: $0) }
        async let _: Void = KafkaProbe.run(metadata, topic: configuration.mapping.topics[0], eventProducer: eventProducer)
        guard let telemetry else {
            health.entered("running")
            while true { try await Task.sleep(for: .seconds(3600)) }
        }
        health.entered("waiting for PostgreSQL")
        try await StartUp.schema(settings.postgres, logger)
        health.entered("joining the group")
        let worker = try Worker.start(
            configuration, settings: settings, client: client, metadata: metadata, partitions: partitions,
            isEmbedded: isEmbedded, telemetry: telemetry, logger: logger)
        parts.started(worker)
        // A change that came between the two lines above has found no worker to tell.
        try await reloader.applyAgain()
        // Both end with this scope, the last first: what the desk waits for at the database is then given up.
        async let _: Void? = admin?.run(worker.pauses) { try await metadata.partitions(of: $0) }
        async let _: Void = worker.pauses.run()
        try await worker.pipeline.run()
    }

    private func bindProducer(_ eventProducer: EventProducer, _ client: KafkaClientConfiguration) async throws {
        var producerConfiguration = KafkaProducerConfiguration(client: client)
        producerConfiguration.linger = settings.kafka.linger
        producerConfiguration.requestsInFlight = settings.kafka.requestsInFlight
        producerConfiguration.messageTimeout = settings.kafka.messageTimeout
        let producer = try KafkaProducer.start(producerConfiguration, handler: eventProducer)
        parts.started(producer)
        parts.shedding?.watch(
            producer, bound: Credits(records: producerConfiguration.inFlightRecords, bytes: producerConfiguration.inFlightBytes))
        let (topic, _) = try await producer.prepare(configuration.mapping.topics[0])
        eventProducer.bind(producer, topic: topic)
    }

    // MARK: End

    /// Asks the pipeline to finish what is under way, and gives it until the deadline. Returns only where there is nothing to finish, or
    /// it did not: otherwise the end of the work cancels this.
    private func drain() async {
        guard let worker = parts.worker else { return }
        let limit = settings.pipeline.shutdownTimeout
        do {
            try await worker.pipeline.shutdown(within: limit.nanoseconds)
            // The pipeline keeps the deadline itself; the second more is for a lane that waits for the server.
            try await Task.sleep(for: limit + .seconds(1))
            logger.warning("The drain was cut short; what was under way is read again at the next start.")
        } catch {
            // Cancelled: the work has ended.
        }
        worker.abandon()
    }

    /// Ends the process where closing takes longer than the drain's deadline and this much: a name server, a broker or a frozen database
    /// can hold each of several steps up for seconds, and everything that matters is durable.
    private func endAnyway() {
        let limit = settings.pipeline.shutdownTimeout + .seconds(5)
        DispatchQueue.global().asyncAfter(deadline: .now() + limit.inSeconds) { [logger] in
            logger.warning("Closing took too long and is left at that; what was under way is read again at the next start.")
            fflush(nil)
            _exit(0)
        }
    }

    private func close(_ server: HTTPServer) async {
        await server.stop(deadline: .seconds(5))
        if let producer = parts.producer, await !producer.close(deadline: .seconds(5)) {
            logger.warning("The producer did not end in time.")
        }
        await parts.worker?.close(within: .seconds(5))
        if let metadata = parts.metadata, await !metadata.close(deadline: .seconds(5)) {
            logger.warning("The metadata connection did not close in time.")
        }
        logger.info("Stopped.")
    }
}

/// What has been started so far, for whoever ends it.
private final class Parts: Sendable {
    private struct State {
        var worker: Worker?
        var shedding: IngressShedding?
        var producer: KafkaProducer?
        var metadata: KafkaMetadata?
        var httpReloader: HTTPServerReloader?
        var limits: IngressLimits?
    }

    private let state = Mutex(State())

    func started(_ worker: Worker) { state.withLock { $0.worker = worker } }
    func started(_ shedding: IngressShedding) { state.withLock { $0.shedding = shedding } }
    func started(_ producer: KafkaProducer) { state.withLock { $0.producer = producer } }
    func started(_ metadata: KafkaMetadata) { state.withLock { $0.metadata = metadata } }
    func started(_ httpReloader: HTTPServerReloader) { state.withLock { $0.httpReloader = httpReloader } }
    var httpReloader: HTTPServerReloader? { state.withLock { $0.httpReloader } }
    func started(_ limits: IngressLimits) { state.withLock { $0.limits = limits } }
    var limits: IngressLimits? { state.withLock { $0.limits } }
    var shedding: IngressShedding? { state.withLock { $0.shedding } }
    var metadata: KafkaMetadata? { state.withLock { $0.metadata } }
    var worker: Worker? { state.withLock { $0.worker } }
    var producer: KafkaProducer? { state.withLock { $0.producer } }
}
