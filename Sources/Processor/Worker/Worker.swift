// Builds the worker's parts around the pipeline, and takes them apart again.

import Apply
import Backpressure
import Decode
import Kafka
import Pipeline
import Postgres
import Records
import Synchronization
import Telemetry

/// The consuming half of a process: a group member, its lanes into the database, and the pipeline between them.
final class Worker: Sendable {
    private let consumer: KafkaConsumer
    private let lanes: [DatabaseLane]
    let pipeline: EventPipeline
    let pauses: PauseKeeper
    private let logger: Logger

    private init(
        consumer: KafkaConsumer, lanes: [DatabaseLane], pipeline: EventPipeline, pauses: PauseKeeper, logger: Logger
    ) {
        self.consumer = consumer
        self.lanes = lanes
        self.pipeline = pipeline
        self.pauses = pauses
        self.logger = logger
    }

    /// Joins the group. Kafka has been asked for the topics before, and knows them.
    /// - Parameter partitions: partitions of all topics together: what this member could come to own.
    static func start(
        _ configuration: Configuration, client: KafkaClientConfiguration, metadata: KafkaMetadata, partitions: Int,
        isEmbedded: Bool, telemetry: WorkerTelemetry, logger: Logger
    ) throws -> Worker {
        let settings = configuration.settings
        LargeBuffers.giveBackWhenFreed()
        let pool = CreditPool()
        var consumerConfiguration = KafkaConsumerConfiguration(
            client: client, groupID: settings.kafka.groupID, topics: configuration.mapping.topics)
        consumerConfiguration.groupInstanceID = settings.kafka.groupInstanceID
        consumerConfiguration.sessionTimeout = settings.kafka.sessionTimeout
        consumerConfiguration.kicker = settings.kafka.kicker
        if isEmbedded { consumerConfiguration.adaptToEmbeddedBroker() }
        let prefetch = PrefetchShare(bytes: settings.pipeline.prefetchBytes, partitions: partitions)
        consumerConfiguration.queuedMaximumKibibytes = prefetch.queuedKibibytes
        consumerConfiguration.queuedMinimumRecords = prefetch.queuedRecords
        consumerConfiguration.fetchMaximumBytes = prefetch.fetchBytes
        // Whole visits fill a transaction: of 1,024 records each, four make 4,096 of 5,000 and the fifth does not fit.
        consumerConfiguration.visitLimit = Swift.min(2_500, Swift.max(1, settings.apply.batchRecords / 4))

        let applyConfiguration = settings.applyConfiguration(outcomes: configuration.outcomes)
        let lanes = (0..<settings.postgres.connections).map { lane in
            DatabaseLane(
                configuration: settings.postgres.connection(name: "sluice lane \(lane)"),
                foreignKeyTimeout: settings.apply.foreignKeyTimeout, outcomes: configuration.outcomes,
                logger: logger.child("lane", ["lane": lane]))
        }
        let pauses = PauseKeeper(
            store: PauseStore(group: settings.kafka.groupID), configuration: settings.postgres.operatorConnection,
            interval: settings.pipeline.pauseInterval, logger: logger.child("operator"))
        let claimer = PartitionClaimer(
            member: "\(settings.kafka.clientID)-\(ProcessIdentity.name)", shape: configuration.mapping.table,
            kafka: settings.kafka, applyConfiguration: applyConfiguration, metadata: metadata, lanes: lanes,
            pauses: pauses, logger: logger.child("claims"))
        let pipelineConfiguration = settings.pipelineConfiguration
        let consumer = try KafkaConsumer.start(
            consumerConfiguration, gate: CreditGate(pool: pool, batch: pipelineConfiguration.batch))
        let pipeline = EventPipeline(
            configuration: pipelineConfiguration,
            source: KafkaRecordSource(consumer: consumer, metadata: metadata, logger: logger.child("kafka")),
            decoder: StageDecoder(mapping: configuration.mapping), claimer: claimer, appliers: lanes, pool: pool,
            clock: SystemClock(), observer: telemetry)
        telemetry.watch(pipeline)
        pauses.attach { try await pipeline.operatorDecided($0) }
        return Worker(consumer: consumer, lanes: lanes, pipeline: pipeline, pauses: pauses, logger: logger)
    }

    /// Leaves the group and disconnects, within a deadline. What is cut short is read again next time: the truth is in PostgreSQL.
    func close(within limit: Duration) async {
        if await !consumer.close(deadline: limit) {
            logger.warning("The consumer group did not let go in time.")
        }
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes { group.addTask { await lane.close() } }
            group.addTask { [pauses] in await pauses.close() }
        }
    }

    /// Makes transactions that wait for the server return at once.
    func abandon() {
        for lane in lanes { lane.abandon() }
        pauses.abandon()
    }
}

/// One partition's part of the memory for librdkafka's prefetch. A fetch may overshoot the queue's limit by one response, so both
/// come out of the share.
struct PrefetchShare: Equatable {
    let queuedKibibytes: Int
    let queuedRecords: Int
    let fetchBytes: Int

    init(bytes: Int, partitions: Int) {
        let share = bytes / Swift.max(1, partitions)
        // Small fetches cost more than they save: 64 KiB is the least that still moves.
        fetchBytes = Swift.min(1 << 20, Swift.max(64 << 10, share / 16))
        // Beyond 4 MiB a partition gains nothing more.
        queuedKibibytes = Swift.min(4096, Swift.max(64, (share - fetchBytes) / 1024))
        // librdkafka keeps about 670 bytes for each record besides its payload (measured: 900 for records of 230), so small records
        // are bounded by their number: each counts as 1.5 KiB. With the kicker that is enough for full speed.
        queuedRecords = Swift.min(10_000, Swift.max(64, (share - fetchBytes) / 1536))
    }
}

extension SluiceSettings {
    var pipelineConfiguration: PipelineConfiguration {
        var configuration = PipelineConfiguration()
        configuration.lanes = postgres.connections
        // Three transactions for each lane: one in the database, one that waits for it, one that is being read.
        configuration.budget = Credits(
            records: Swift.max(16_384, 3 * postgres.connections * apply.batchRecords), bytes: pipeline.creditBytes)
        configuration.batch = Credits(records: apply.batchRecords, bytes: apply.batchBytes)
        configuration.lowWatermark = pipeline.lowWatermark
        configuration.highWatermark = pipeline.highWatermark
        configuration.pauseDwell = pipeline.pauseDwell.nanoseconds
        configuration.drainDeadline = pipeline.drainTimeout.nanoseconds
        configuration.claimDeadline = pipeline.claimTimeout.nanoseconds
        configuration.mirrorInterval = pipeline.mirrorInterval.nanoseconds
        configuration.lagInterval = pipeline.lagInterval.nanoseconds
        configuration.stallTimeout = pipeline.stallTimeout.nanoseconds
        configuration.retry = Backoff(initial: apply.retryInitial.nanoseconds, maximum: apply.retryMaximum.nanoseconds)
        configuration.circuitThreshold = apply.circuitFailures
        return configuration
    }

    func applyConfiguration(outcomes: OutcomeTable) -> ApplyConfiguration {
        var configuration = ApplyConfiguration(group: kafka.groupID, outcomes: outcomes)
        configuration.coalesce = apply.coalesce
        configuration.poison.leastRecords = apply.poisonRecords
        configuration.poison.share = apply.poisonShare
        configuration.poison.windowSeconds = apply.poisonWindow.inSeconds
        return configuration
    }
}

extension PostgresSettings {
    func connection(name: String) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(uri: uri)
        configuration.applicationName = name
        configuration.connectTimeout = connectTimeout
        configuration.statementTimeout = statementTimeout
        configuration.lockTimeout = lockTimeout
        configuration.idleInTransactionTimeout = idleInTransactionTimeout
        return configuration
    }
    /// For the operator's requests: they are small, and somebody waits for their answer.
    var operatorConnection: PostgresConfiguration {
        var configuration = connection(name: "sluice operator")
        configuration.connectTimeout = min(connectTimeout, .seconds(5))
        configuration.statementTimeout = min(statementTimeout, .seconds(5))
        configuration.lockTimeout = min(lockTimeout, .seconds(2))
        configuration.replyGrace = .seconds(1)
        return configuration
    }
}
