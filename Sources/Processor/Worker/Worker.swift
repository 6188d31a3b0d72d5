// Starts, changes and closes the consumer, the lanes and the pipeline of a worker.

import Apply
import Backpressure
import Decode
import Kafka
import Pipeline
import Platform
import Postgres
import Records
import Settings
import SluiceTables
import Telemetry

/// A member of the consumer group, its lanes into the database, and the pipeline between them.
final class Worker: Sendable {
    private let consumer: KafkaConsumer
    /// For the offsets up to which logs can be read.
    private let committedMetadata: KafkaMetadata
    private let lanes: [DatabaseLane]
    private let claimer: PartitionClaimer
    private let limiter: ConsumeLimiter
    let pipeline: EventPipeline
    let pauses: OperatorPauseSync
    let retention: TableRetention
    private let telemetry: WorkerTelemetry
    /// Partitions of all topics together when the worker was started.
    private let partitions: Int
    private let logger: Logger

    /// Joins the group. The topics exist.
    /// - Parameters:
    ///   - settings: the settings in force.
    ///   - partitions: of all topics together: what this member could be assigned.
    /// - Throws: `CommandError` where the memory budget is too small for the partitions.
    init(
        _ configuration: Configuration, settings: SluiceSettings, client: KafkaClientConfiguration, metadata: KafkaMetadata,
        partitions: Int, isEmbedded: Bool, telemetry: WorkerTelemetry, logger: Logger
    ) throws {
        self.telemetry = telemetry
        self.partitions = partitions
        self.logger = logger
        LargeBuffers.returnToSystemWhenFreed()
        let budget = settings.memoryBudget
        let prefetch = try budget.prefetchShare(partitions: partitions, properties: settings.kafka.properties)
        let pool = CreditPool(
            // A batch of a routed topic has a part for each of the route's mappings.
            batchOverhead: Footprint.perBatch * (1 + configuration.routes.routed.count),
            recordOverhead: configuration.mappings.map { Footprint(columns: $0.table.columns.count).perRecord }.max() ?? 0)
        var consumerConfiguration = KafkaConsumerConfiguration(
            client: client, groupID: settings.kafka.groupID, topics: configuration.topics)
        consumerConfiguration.groupInstanceID = settings.kafka.groupInstanceID
        consumerConfiguration.groupProtocol = settings.kafka.groupProtocol
        consumerConfiguration.sessionTimeout = settings.kafka.sessionTimeout
        consumerConfiguration.fetchWakeUp = settings.kafka.fetchWakeUp
        if isEmbedded { consumerConfiguration.adaptToEmbeddedBroker() }
        consumerConfiguration.queuedMaximumKibibytes = prefetch.queuedKibibytes
        consumerConfiguration.queuedMinimumRecords = prefetch.queuedRecords
        consumerConfiguration.fetchMaximumBytes = prefetch.fetchBytes
        // The size of a transaction is the limit that counts and can be changed; this one keeps a visit short for the other partitions.
        consumerConfiguration.visitLimit = 2_500

        let applyConfiguration = settings.applyConfiguration(outcomes: configuration.outcomes)
        let plans = TablePlans(
            configuration.mappings.map { mapping in
                var apply = applyConfiguration
                apply.mapping = mapping.name
                return TablePlan(
                    shape: mapping.table, others: configuration.otherTables(than: mapping), configuration: apply,
                    poison: settings.apply.poisonLimits,
                    logger: logger.child("table", ["mapping": mapping.name]))
            }, routes: configuration.routes, poison: settings.apply.poisonLimits)
        lanes = try (0..<settings.postgres.connections).map { lane in
            try DatabaseLane(
                configuration: settings.postgres.connection(name: "sluice lane \(lane)"), plans: plans, apply: applyConfiguration,
                constraintTimeout: settings.apply.constraintTimeout,
                logger: logger.child("lane", ["lane": lane]))
        }
        pauses = OperatorPauseSync(
            store: PauseStore(group: settings.kafka.groupID), configuration: settings.postgres.operatorConnection,
            interval: settings.pipeline.pauseInterval, logger: logger.child("operator"))
        let versioned = configuration.mappings.map(\.table).filter { $0.version != nil }
        retention = TableRetention(
            group: settings.kafka.groupID, tombstones: TombstoneStore(tables: versioned.map { ($0.schema, $0.name) }), settings,
            configuration: settings.postgres.connection(name: "sluice retention"), rows: telemetry.deadLetterRows,
            logger: logger.child("retention"))
        committedMetadata = try KafkaMetadata.start(client, groupID: settings.kafka.groupID, seesOpenTransactions: false)
        // Of a transaction that is open at the first start all records are read, or none.
        claimer = PartitionClaimer(
            member: "\(settings.kafka.clientID)-\(ProcessIdentity.name)", plans: plans, kafka: settings.kafka,
            metadata: committedMetadata, lanes: lanes, pauses: pauses, logger: logger.child("claims"))
        let pipelineConfiguration = settings.pipelineConfiguration
        limiter = ConsumeLimiter(settings.limits.consume, batch: pipelineConfiguration.visit) {
            MonotonicClock.nanoseconds()
        }
        let consumer = try KafkaConsumer.start(consumerConfiguration, limit: CreditReadLimit(pool: pool, limiter: limiter))
        self.consumer = consumer
        let pipeline = EventPipeline(
            configuration: pipelineConfiguration,
            source: KafkaRecordSource(
                consumer: consumer, metadata: metadata, committedMetadata: committedMetadata, limiter: limiter,
                prefetchBytes: budget.prefetch, partitionLimit: partitions, logger: logger.child("kafka")),
            decoder: StageDecoder(configuration.mappings, routes: configuration.routes, route: configuration.route),
            claimer: claimer, appliers: lanes,
            pool: pool,
            clock: SystemClock(), observer: telemetry)
        self.pipeline = pipeline
        telemetry.watch(pipeline)
        telemetry.consumer.watch { consumer.statistics }
        telemetry.memory.watch(budget) { (prefetched: consumer.prefetchedBytes, pipeline: pipeline.memory) }
        logger.info(
            "Memory budget split.",
            [
                "prefetch_bytes": budget.prefetch, "credit_bytes": budget.records,
                "transaction_bytes": pipelineConfiguration.batch.bytes,
                "partitions": partitions, "queued_kbytes": prefetch.queuedKibibytes, "queued_records": prefetch.queuedRecords,
                "fetch_bytes": prefetch.fetchBytes,
            ])
        pauses.attach { pipeline.operatorDecided($0) }
    }

    /// Why this worker cannot run with these settings; `nil` where it can.
    func obstacle(in settings: SluiceSettings) -> Fault? {
        do throws(CommandError) {
            _ = try settings.memoryBudget.prefetchShare(partitions: partitions, properties: settings.kafka.properties)
            return nil
        } catch {
            return Fault(.defaults, error.description)
        }
    }

    /// Applies changed limits. Levels, credits in use and counters are kept. Settings that are fixed for the life of a worker must have
    /// their values of the start.
    func reconfigure(_ settings: SluiceSettings) {
        let configuration = settings.pipelineConfiguration
        limiter.update(settings.limits.consume, batch: configuration.visit)
        claimer.reconfigure(constraintTimeout: settings.apply.constraintTimeout, poison: settings.apply.poisonLimits)
        retention.update(settings)
        pipeline.reconfigure(configuration)
        telemetry.memory.update(settings.pipeline.memoryBudget)
        // A reader that a limit has stopped checks again.
        consumer.creditsReturned()
    }

    /// Claims the stopped partitions of a scope again at once.
    func retry(_ scope: PauseScope) -> RetriedPartitions {
        let snapshot = pipeline.snapshot()
        func isMeant(_ source: TopicPartition) -> Bool {
            scope.contains(PauseScope(topic: source.topic, partition: source.partition))
        }
        let stopped = snapshot.stopped.filter { isMeant($0.source) }
        pipeline.retry(stopped.map(\.source))
        let others = snapshot.positions.map(\.source) + snapshot.unclaimed.map(\.source)
        return (stopped, !stopped.isEmpty || others.contains(where: isMeant))
    }

    /// Leaves the group and disconnects, within a deadline. Records that are not durable by then are read again at the next start.
    /// - Returns: false where the group was not left in time: the process must end, for its member is still there.
    func close(within limit: Duration) async -> Bool {
        let hasLeft = await consumer.close(deadline: limit)
        if hasLeft {
            logger.info("Consumer group left.")
        } else {
            logger.warning("The consumer did not leave the group in time.")
        }
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes { group.addTask { await lane.close() } }
            group.addTask { [pauses] in await pauses.close() }
            group.addTask { [committedMetadata] in _ = await committedMetadata.close(deadline: limit) }
        }
        return hasLeft
    }

    /// Makes transactions that wait for PostgreSQL return at once.
    func abandon() {
        for lane in lanes { lane.abandon() }
        pauses.abandon()
    }
}

extension PipelineConfiguration {
    /// What a reader takes from a partition in one visit: a quarter of a transaction, so that whole visits fill it. (Of visits of 1,024
    /// records four make 4,096 of 5,000, and a fifth does not fit.) In bytes a little less, because a visit overshoots by one record.
    var visit: Credits {
        Credits(records: Swift.max(1, batch.records / 4), bytes: Swift.max(1, batch.bytes / 4 - batch.bytes / 64))
    }
}

extension SluiceSettings {
    var memoryBudget: MemoryBudget { MemoryBudget(total: pipeline.memoryBudget, lanes: postgres.connections) }

    var pipelineConfiguration: PipelineConfiguration {
        var configuration = PipelineConfiguration()
        configuration.lanes = postgres.connections
        // Three transactions per lane: one in the database, one waiting for it, one being read.
        configuration.budget = Credits(
            records: Swift.max(16_384, 3 * postgres.connections * apply.batchRecords), bytes: memoryBudget.records)
        configuration.batch = Credits(
            records: apply.batchRecords, bytes: Swift.min(apply.batchBytes, memoryBudget.transaction))
        configuration.lowWatermark = pipeline.lowWatermark
        configuration.highWatermark = pipeline.highWatermark
        configuration.pauseDwell = pipeline.pauseDwell.nanoseconds
        configuration.drainDeadline = pipeline.drainTimeout.nanoseconds
        configuration.claimDeadline = pipeline.claimTimeout.nanoseconds
        configuration.offsetCommitInterval = pipeline.offsetCommitInterval.nanoseconds
        configuration.lagInterval = pipeline.lagInterval.nanoseconds
        configuration.commitInterval = apply.commitInterval.nanoseconds
        configuration.recheckInterval = pipeline.recheckInterval.nanoseconds
        configuration.stallTimeout = pipeline.stallTimeout.nanoseconds
        configuration.retry = Backoff(initial: apply.retryInitial.nanoseconds, maximum: apply.retryMaximum.nanoseconds)
        configuration.circuitThreshold = apply.circuitFailures
        return configuration
    }

    func applyConfiguration(outcomes: OutcomeTable) -> ApplyConfiguration {
        var configuration = ApplyConfiguration(group: kafka.groupID, outcomes: outcomes)
        // What a transaction's arrays may take at most, as they double when they grow; see MemoryBudget.
        configuration.keptBufferBytes = 2 * memoryBudget.transaction
        return configuration
    }
}

extension PostgresSettings {
    func connection(name: String) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(uri: uri)
        configuration.uriFile = uriFile
        configuration.passwordCommand = passwordCommand
        configuration.applicationName = name
        configuration.connectTimeout = connectTimeout
        configuration.statementTimeout = statementTimeout
        configuration.lockTimeout = lockTimeout
        configuration.idleInTransactionTimeout = idleInTransactionTimeout
        return configuration
    }
    /// For requests of operators: small statements, and a client waits for the answer.
    var operatorConnection: PostgresConfiguration {
        var configuration = connection(name: "sluice operator")
        configuration.connectTimeout = min(connectTimeout, .seconds(5))
        configuration.statementTimeout = min(statementTimeout, .seconds(5))
        configuration.lockTimeout = min(lockTimeout, .seconds(2))
        configuration.replyGrace = .seconds(1)
        return configuration
    }
}
