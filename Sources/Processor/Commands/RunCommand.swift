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
import ServiceManager
import Synchronization
import Telemetry

/// A run of the process. What needs no server is made at once; each step of the start after it waits for the server it needs. A signal ends
/// any step.
final class RunCommand: Sendable {
    private let configuration: Configuration
    private let role: Role
    private let isEmbedded: Bool
    private let logger: Logger
    private let signals: Signals
    private let broker: BrokerProcess?
    private let client: KafkaClientConfiguration
    private let eventProducer: EventProducer?
    private let telemetry: WorkerTelemetry?
    private let shedding: IngressShedding?
    private let admin: AdminController?
    private let health: Health
    private let server: HTTPServerReloader
    private let reloader: Reloader
    /// The consumer lag of the group, for an ingress without a pipeline, or whose pipeline has no partition. The role ingress exports it.
    private let outside: GroupLagMonitor?
    private let late: LateComponents

    init(configuration: Configuration, role: Role, isEmbedded: Bool, brokerFile: String?, logger: Logger) async throws {
        self.configuration = configuration
        self.role = role
        self.isEmbedded = isEmbedded
        self.logger = logger
        signals = Signals(logger: logger)
        logger.info(
            "Sluice starting.",
            [
                "version": sluiceVersion, "role": role.rawValue,
                "libraries": libraryVersions.map { "\($0) \($1)" }.joined(separator: ", "),
            ])
        logger.warn(of: configuration.settings.kafka)
        logger.warn(of: configuration.settings.http)
        let (settings, ingressTopic) = (configuration.settings, try configuration.ingressTopic(of: role))
        let registry = MetricsRegistry()
        registry.registerProcessMetrics()
        registry.registerLogMetrics()
        registry.registerBuildInfo()
        broker = isEmbedded ? try await BrokerProcess.start(topics: configuration.topics) : nil
        if let broker {
            logger.info("Embedded broker started.", ["bootstrap_servers": broker.bootstrapServers])
            if let brokerFile {
                try Data("\(broker.bootstrapServers)\n".utf8).write(to: URL(fileURLWithPath: brokerFile), options: .atomic)
            }
        }
        var client = settings.kafka.client(log: logger.child("librdkafka").handler("librdkafka logged a message."))
        if let broker { client.bootstrapServers = broker.bootstrapServers }
        self.client = client
        let bounds = BatchBounds(settings.http)
        eventProducer = ingressTopic.map {
            EventProducer(configuration.validator(of: $0), registry: registry, bounds: bounds, logger: logger.child("ingress"))
        }
        let telemetry =
            role == .ingress
            ? nil
            : WorkerTelemetry(
                group: settings.kafka.groupID, mappings: configuration.mappings.map(\.name), routes: configuration.routes,
                registry: registry,
                logger: logger.child("worker"))
        self.telemetry = telemetry
        let shedding = role == .worker ? nil : IngressShedding(settings.limits.shed.limits, registry: registry)
        self.shedding = shedding
        let limits = role == .worker ? nil : IngressLimits(settings)
        limits?.register(on: registry)
        health = Health(role: role, eventProducer: eventProducer, shedding: shedding) { telemetry?.snapshot }
        let authorizer = RequestAuthorizer(settings.http)
        admin =
            role == .ingress
            ? nil : AdminController(authorizer: authorizer, topics: configuration.topics, logger: logger.child("operator"))
        let routes = Routes(
            role: role, eventProducer: eventProducer, limits: limits, shedding: shedding, admin: admin, authorizer: authorizer,
            registry: registry, health: health)
        let server = try Self.startServer(configuration, routes, authorizer, logger.child("http"))
        server.register(registry)
        self.server = server
        let late = LateComponents()
        self.late = late
        let reloader = Reloader(
            configuration, registry: registry, logger: logger.child("configuration"),
            unsupported: { late.worker.current?.obstacle(in: $0) },
            apply: { settings in
                bounds.update(settings.http)
                server.update(settings.http)
                limits?.update(settings)
                shedding?.update(settings.limits.shed.limits)
                late.worker.current?.reconfigure(settings)
            }, applyCertificate: { server.update($0) })
        self.reloader = reloader
        if role != .ingress { reloader.registerConsumeLimits(registry) }
        outside =
            role == .worker
            ? nil
            : GroupLagMonitor(
                topics: configuration.topics, interval: { reloader.settings.pipeline.lagInterval }, logger: logger.child("group"))
        if role == .ingress, let outside {
            GroupCollectors.register(on: registry.sharedCollector { outside.sample() }, group: settings.kafka.groupID)
        }
    }

    /// The settings in force: keys that take effect at a restart only have the values of the start.
    private var settings: SluiceSettings { reloader.settings }

    /// Runs until a SIGTERM or SIGINT has been handled.
    func run() async throws {
        logger.info("HTTP server listening.", ["url": settings.http.url(port: server.server.port), "role": role.rawValue])
        // Whether it can work, or waits for a server, is told by /readyz: an outage is no failed start.
        ServiceManager.notify(.ready)
        let outcome = await work()
        // A lane that waits for PostgreSQL must not delay the end of a process that has failed.
        if case .failure = outcome { late.worker.current?.abandon() }
        await close()
        await broker?.stop()
        try outcome.get()
    }

    /// Serves until serving fails, or a SIGTERM or SIGINT has been handled.
    private func work() async -> Result<Void, any Error> {
        await withTaskGroup(of: Result<Void, any Error>.self) { group in
            group.addTask {
                do { return .success(try await self.serve()) } catch { return .failure(error) }
            }
            group.addTask {
                guard let signal = await self.signals.next() else { return .success(()) }
                self.logger.info("Stopping: signal received.", ["signal": Signals.name(signal)])
                ServiceManager.notify(.stopping)
                self.health.entered("stopping")
                self.endAfterDeadline()
                self.late.isStopping.store(true, ordering: .sequentiallyConsistent)
                self.stopTakingEvents()
                await self.drain()
                await self.late.lastEvents.current?.value
                return .success(())
            }
            group.addTask {
                await self.reloader.run(hangups: self.signals.hangups)
                return .success(())
            }
            // The first task to end cancels the others: after a signal that is serving, once it is drained, or the drain at its deadline.
            defer { group.cancelAll() }
            return await group.next() ?? .success(())
        }
    }

    // MARK: Start

    private static func startServer(
        _ configuration: Configuration, _ routes: Routes, _ authorizer: RequestAuthorizer, _ log: Logger
    ) throws -> HTTPServerReloader {
        let (http, identity) = (configuration.settings.http, configuration.identity)
        let server = try HTTPServer.start(configuration: http.server(identity: identity), handler: routes) {
            level, sentence, message in
            log.log(level, sentence, ["message": message])
        }
        return HTTPServerReloader(server, http: http, identity: identity, authorizer: authorizer, logger: log)
    }

    /// Waits for Kafka and PostgreSQL, then serves until cancelled.
    private func serve() async throws {
        let metadata = try KafkaMetadata.start(client, groupID: settings.kafka.groupID)
        late.metadata.set(metadata)
        health.entered("waiting for Kafka")
        let (partitions, missing) = try await topics(metadata)
        if let eventProducer, let topic = try configuration.ingressTopic(of: role) {
            try await bindProducer(eventProducer, metadata, topic)
        }
        // These tasks end with this scope.
        async let _: Void? = outside?.run(KafkaGroupOffsets(metadata: metadata))
        async let _: Void? = shedding?.run { sheddingInputs(now: $0) }
        async let _: Void = KafkaProbe.run(
            metadata, topic: try configuration.ingressTopic(of: role), eventProducer: eventProducer)
        guard let telemetry else {
            health.entered("running")
            while true { try await Task.sleep(for: .seconds(3600)) }
        }
        health.entered("waiting for PostgreSQL")
        try await StartUp.schema(settings.postgres, logger)
        health.entered("joining the group")
        async let _: Void = StartUp.missingTopics(missing, metadata) { health.update(missingTopics: $0.values.sorted()) }
        var worker = try makeWorker(metadata, partitions, telemetry)
        // Until this scope ends. Requests that wait for the database are abandoned with their worker.
        async let _: Void? = admin?.run(
            pauses: { [late] in late.presentWorker.pauses }, retry: { [late] in late.presentWorker.retry($0) },
            partitions: { try await metadata.partitions(of: $0) })
        while true {
            do {
                try await work(worker)
                late.isWorkerEnded.store(true, ordering: .sequentiallyConsistent)
                // Its partitions are to go to other members at once. Load is shed as long as events are taken.
                _ = await worker.close(within: .seconds(5))
                await late.lastEvents.current?.value
                return
            } catch let error as TooManyPartitions {
                logger.warning(
                    "More partitions are assigned than the memory budget was divided for; the consumer is made anew.",
                    ["assigned": error.assigned, "planned": error.limit])
                late.isWorkerEnded.store(true, ordering: .sequentiallyConsistent)
                guard await worker.close(within: .seconds(5)) else { throw error }
                // A broker that has not heard of all of them yet must not lead to the same again.
                let known = try await topics(metadata).partitions
                worker = try makeWorker(metadata, Swift.max(known, error.assigned), telemetry)
                late.isWorkerEnded.store(false, ordering: .sequentiallyConsistent)
                // A signal before this has found the former worker only.
                if late.isStopping.load(ordering: .sequentiallyConsistent) { return }
            }
        }
    }

    /// Waits for Kafka and the topics: for that of the ingress, and for one at least.
    private func topics(_ metadata: KafkaMetadata) async throws -> (partitions: Int, missing: [String: String]) {
        let topics = try await StartUp.topics(
            try configuration.topics(of: role), needed: try configuration.ingressTopic(of: role), metadata,
            waitsForTopics: settings.kafka.waitForTopics, logger
        ) { reason in
            health.entered("waiting for Kafka: \(reason)")
            eventProducer?.update(kafkaError: reason)
        }
        eventProducer?.update(kafkaError: nil)
        return topics
    }

    private func makeWorker(_ metadata: KafkaMetadata, _ partitions: Int, _ telemetry: WorkerTelemetry) throws -> Worker {
        let worker = try Worker(
            configuration, settings: settings, client: client, metadata: metadata, partitions: partitions,
            isEmbedded: isEmbedded, telemetry: telemetry, logger: logger)
        late.worker.set(worker)
        return worker
    }

    /// Runs a worker until it has drained, or fails.
    private func work(_ worker: Worker) async throws {
        // A reload since the settings were read for it has found no worker, or another one.
        try await reloader.applyAgain()
        // These tasks end with this scope.
        async let _: Void = worker.pauses.run()
        async let _: Void = worker.retention.run()
        try await worker.pipeline.run()
    }

    private func bindProducer(
        _ eventProducer: EventProducer, _ metadata: KafkaMetadata, _ topicName: String
    ) async throws {
        var producerConfiguration = KafkaProducerConfiguration(client: client)
        producerConfiguration.linger = settings.kafka.linger
        producerConfiguration.requestsInFlight = settings.kafka.requestsInFlight
        producerConfiguration.messageTimeout = settings.kafka.messageTimeout
        do throws(KafkaError) {
            producerConfiguration.batchBytes = try await metadata.largestBatch(of: topicName, timeout: .seconds(2))
        } catch {
            logger.info(
                "The topic's max.message.bytes is not known; produce batches have librdkafka's usual size.",
                ["topic": topicName, "message": error.description])
        }
        let producer = try KafkaProducer.start(producerConfiguration, handler: eventProducer)
        late.producer.set(producer)
        shedding?.watch(
            producer, bound: Credits(records: producerConfiguration.inFlightRecords, bytes: producerConfiguration.inFlightBytes))
        let (topic, _) = try await producer.prepare(topicName)
        eventProducer.bind(producer, topic: topic)
    }

    /// Inputs of load shedding: from the pipeline of this process, joined by the lag of the group while other workers have partitions.
    private func sheddingInputs(now: UInt64) -> SheddingInputs {
        let interval = settings.pipeline.lagInterval.inSeconds
        let snapshot = telemetry?.snapshot
        let inputs = snapshot.map { SheddingInputs($0, lagInterval: interval, now: now) } ?? SheddingInputs()
        guard let group = outside?.sample(), group.partitions.count > snapshot?.positions.count ?? 0 else { return inputs }
        return inputs.merged(with: SheddingInputs(group, lagInterval: interval, now: now))
    }

    // MARK: End

    /// Drains the pipeline within `pipeline.shutdown_timeout`. Returns only where there is nothing to drain or the deadline has passed:
    /// otherwise the end of ``serve`` cancels it.
    private func drain() async {
        guard !late.isWorkerEnded.load(ordering: .sequentiallyConsistent), let worker = late.worker.current else { return }
        let limit = settings.pipeline.shutdownTimeout
        do {
            worker.pipeline.shutdown(within: limit.nanoseconds)
            // The pipeline keeps the deadline itself; the further second is for a lane that waits for PostgreSQL.
            try await Task.sleep(for: limit + .seconds(1))
            if late.isWorkerEnded.load(ordering: .sequentiallyConsistent) { return }
            logger.warning("The drain did not finish in time; records that are not durable are read again at the next start.")
        } catch {
            // Cancelled: the pipeline has ended.
        }
        worker.abandon()
    }

    /// Time in which events are still taken after the signal.
    private var shutdownDelay: Duration { role == .worker ? .zero : settings.http.shutdownDelay }

    /// Takes events until load balancers have noticed that this process is not ready any more. The worker drains meanwhile: its partitions
    /// are to go to another member at once.
    private func stopTakingEvents() {
        server.server.announceStop()
        guard let eventProducer else { return }
        let delay = shutdownDelay
        late.lastEvents.set(
            // Not cancelled: what ends the other tasks does not end the time that clients were promised.
            Task {
                try? await Task.sleep(for: delay)
                eventProducer.stop()
            })
    }

    /// Ends the process five seconds after the drain's deadline: a name server, a broker or a hanging database can delay each of several
    /// steps, and all applied records are durable.
    private func endAfterDeadline() {
        let limit = shutdownDelay + settings.pipeline.shutdownTimeout + .seconds(5)
        DispatchQueue.global().asyncAfter(deadline: .now() + limit.inSeconds) { [logger] in
            logger.warning("Stopping took too long; records that are not durable are read again at the next start.")
            endProcess(0)
        }
    }

    private func close() async {
        // At the same time: until this member has left its group, nobody reads its partitions, and requests may take their time.
        async let hasLeft: Bool? = late.worker.current?.close(within: .seconds(5))
        await late.lastEvents.current?.value
        eventProducer?.stop()
        // As long as acknowledgements may take: before, it is unknown whether an event was written.
        await server.server.stop(
            deadline: min(settings.kafka.messageTimeout + .seconds(1), settings.pipeline.shutdownTimeout))
        if let producer = late.producer.current, await !producer.close(deadline: .seconds(5)) {
            logger.warning("The producer did not close in time.")
        }
        _ = await hasLeft
        if let metadata = late.metadata.current, await !metadata.close(deadline: .seconds(5)) {
            logger.warning("The Kafka metadata client did not close in time.")
        }
        logger.info("Stopped.")
    }
}
