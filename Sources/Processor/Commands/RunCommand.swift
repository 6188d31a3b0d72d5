// Owns `sluice run`: starts the components of a role, runs them, and stops them.

import Admission
import Backpressure
import Decode
import Dispatch
import Foundation
import HTTPServer
import Kafka
import Pipeline
import Platform
import Synchronization
import Telemetry

/// A run of the process. Each step of the start waits for the server it needs; a signal ends any step.
struct RunCommand {
    let configuration: Configuration
    let role: Role
    let isEmbedded: Bool
    let brokerFile: String?
    let logger: Logger
    private let registry = MetricsRegistry()
    private let components = Components()
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
            unsupported: { [components] in components.started.worker?.obstacle(in: $0) },
            apply: { [components] settings in
                let started = components.started
                bounds.update(settings.http)
                started.server?.update(settings.http)
                started.limits?.update(settings)
                started.shedding?.update(settings.limits.shed.limits)
                started.worker?.reconfigure(settings)
            }, applyCertificate: { [components] in components.started.server?.update($0) })
    }

    /// The settings in force: keys that take effect at a restart only have the values of the start.
    private var settings: SluiceSettings { reloader.settings }

    /// Runs until a SIGTERM or SIGINT has been handled.
    func run() async throws {
        let signals = Signals(logger: logger)
        registry.registerProcessMetrics()
        if role != .ingress { reloader.registerConsumeLimits(registry) }
        let broker = isEmbedded ? try await BrokerProcess.start(topics: configuration.mapping.topics) : nil
        if let broker {
            logger.info("Embedded broker started.", ["bootstrap_servers": broker.bootstrapServers])
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
        if eventProducer != nil { components.set(\.shedding, IngressShedding(settings.limits.shed.limits, registry: registry)) }
        let outside = role == .worker ? nil : groupLagMonitor()
        let health = Health(role: role, eventProducer: eventProducer, shedding: components.started.shedding) {
            telemetry?.snapshot
        }
        let authorizer = RequestAuthorizer(settings.http)
        let admin = role == .ingress ? nil : adminController(authorizer)
        let server = try startServer(eventProducer: eventProducer, admin: admin, authorizer: authorizer, health: health)
        let scheme = configuration.identity == nil ? "http" : "https"
        let host = settings.http.host.contains(":") ? "[\(settings.http.host)]" : settings.http.host
        logger.info("HTTP server listening.", ["url": "\(scheme)://\(host):\(server.port)", "role": role.rawValue])

        let outcome = await work(client, eventProducer, outside, admin, telemetry, health, signals)
        // A lane that waits for PostgreSQL must not delay the end of a process that has failed.
        if case .failure = outcome { components.started.worker?.abandon() }
        await close(server)
        await broker?.stop()
        try outcome.get()
    }

    /// Serves until serving fails, or a SIGTERM or SIGINT has been handled.
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
                self.logger.info("Stopping: signal received.", ["signal": Signals.name(signal)])
                health.entered("stopping")
                self.endAfterDeadline()
                eventProducer?.stop()
                await self.drain()
                return .success(())
            }
            group.addTask {
                await self.reloader.run(hangups: signals.hangups)
                return .success(())
            }
            // The first task to end cancels the others: after a signal that is serving, once it is drained, or the drain at its deadline.
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
        components.set(\.limits, limits)
        return limits
    }

    /// The consumer lag of the group, for an ingress without a pipeline, or whose pipeline has no partition. The role ingress exports it.
    private func groupLagMonitor() -> GroupLagMonitor {
        let monitor = GroupLagMonitor(
            topics: configuration.mapping.topics, interval: { [reloader] in reloader.settings.pipeline.lagInterval },
            logger: logger.child("group"))
        if role == .ingress {
            GroupCollectors.register(on: registry.sharedCollector { monitor.sample() }, group: settings.kafka.groupID)
        }
        return monitor
    }

    /// Inputs of load shedding: from the pipeline of this process, joined by the lag of the group while other workers have partitions.
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
            shedding: components.started.shedding, admin: admin,
            authorizer: authorizer, registry: registry, health: health)
        let server = try HTTPServer.start(configuration: http.server(identity: identity), handler: routes) {
            level, sentence, message in
            log.log(level, sentence, ["message": message])
        }
        if identity == nil, !HTTPSettings.isLoopback(http.host) {
            log.warning(
                "The HTTP server is reachable from other machines without TLS: tokens and events are not encrypted.",
                ["remedy": "set http.tls_certificate and http.tls_key, or let a proxy terminate TLS"])
        }
        let reloader = HTTPServerReloader(server, http: http, identity: identity, authorizer: authorizer, logger: log)
        reloader.register(registry)
        components.set(\.server, reloader)
        return server
    }

    private func kafkaClient(bootstrapServers: String) -> KafkaClientConfiguration {
        KafkaClientConfiguration(
            bootstrapServers: bootstrapServers, clientID: settings.kafka.clientID, properties: settings.kafka.properties,
            log: logger.child("librdkafka").handler("librdkafka logged a message."))
    }

    /// Waits for Kafka and PostgreSQL, then serves until cancelled.
    private func serve(
        _ client: KafkaClientConfiguration, eventProducer: EventProducer?, outside: GroupLagMonitor?, admin: AdminController?,
        telemetry: WorkerTelemetry?, health: Health
    ) async throws {
        let metadata = try KafkaMetadata.start(client, groupID: settings.kafka.groupID)
        components.set(\.metadata, metadata)
        health.entered("waiting for Kafka")
        let partitions = try await StartUp.topics(configuration.mapping.topics, metadata, logger)
        if let eventProducer { try await bindProducer(eventProducer, client) }
        // These tasks end with this scope.
        async let _: Void? = outside?.run(KafkaGroupOffsets(metadata: metadata))
        async let _: Void? = components.started.shedding?.run { sheddingInputs(outside, telemetry, now: $0) }
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
        components.set(\.worker, worker)
        // A reload between the two lines above has found no worker.
        try await reloader.applyAgain()
        // Both tasks end with this scope, the last first: requests of operators that wait for the database are then abandoned.
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
        components.set(\.producer, producer)
        components.started.shedding?.watch(
            producer, bound: Credits(records: producerConfiguration.inFlightRecords, bytes: producerConfiguration.inFlightBytes))
        let (topic, _) = try await producer.prepare(configuration.mapping.topics[0])
        eventProducer.bind(producer, topic: topic)
    }

    // MARK: End

    /// Drains the pipeline within `pipeline.shutdown_timeout`. Returns only where there is nothing to drain or the deadline has passed:
    /// otherwise the end of ``serve`` cancels it.
    private func drain() async {
        guard let worker = components.started.worker else { return }
        let limit = settings.pipeline.shutdownTimeout
        do {
            worker.pipeline.shutdown(within: limit.nanoseconds)
            // The pipeline keeps the deadline itself; the further second is for a lane that waits for PostgreSQL.
            try await Task.sleep(for: limit + .seconds(1))
            logger.warning("The drain did not finish in time; records that are not durable are read again at the next start.")
        } catch {
            // Cancelled: the pipeline has ended.
        }
        worker.abandon()
    }

    /// Ends the process five seconds after the drain's deadline: a name server, a broker or a hanging database can delay each of several
    /// steps, and all applied records are durable.
    private func endAfterDeadline() {
        let limit = settings.pipeline.shutdownTimeout + .seconds(5)
        DispatchQueue.global().asyncAfter(deadline: .now() + limit.inSeconds) { [logger] in
            logger.warning("Stopping took too long; records that are not durable are read again at the next start.")
            fflush(nil)
            _exit(0)
        }
    }

    private func close(_ server: HTTPServer) async {
        await server.stop(deadline: .seconds(5))
        let started = components.started
        if let producer = started.producer, await !producer.close(deadline: .seconds(5)) {
            logger.warning("The producer did not close in time.")
        }
        await started.worker?.close(within: .seconds(5))
        if let metadata = started.metadata, await !metadata.close(deadline: .seconds(5)) {
            logger.warning("The Kafka metadata client did not close in time.")
        }
        logger.info("Stopped.")
    }
}

/// Components in the order they are started, for the reloader and for the end.
private final class Components: Sendable {
    struct Started: Sendable {
        var shedding: IngressShedding?
        var limits: IngressLimits?
        var server: HTTPServerReloader?
        var metadata: KafkaMetadata?
        var producer: KafkaProducer?
        var worker: Worker?
    }

    private let state = Mutex(Started())

    var started: Started { state.withLock { $0 } }

    func set<Component: Sendable>(_ path: any WritableKeyPath<Started, Component?> & Sendable, _ component: Component) {
        state.withLock { $0[keyPath: path] = component }
    }
}
