// Owns the environment of one test: its own topic, group and database, and the processes it starts.

import Foundation
import Kafka
import Postgres
import Records
import Synchronization
import TestSupport
import Testing

/// All tests on a real Apache Kafka. They run one after the other, because they share its broker and the machine's cores.
@Suite(.serialized) struct EndToEnd {}

/// Why a test cannot continue.
typealias Trouble = ChildProcess.Failure

/// The environment of one test.
final class World: Sendable {
    let name: String
    /// The topic of the test's mapping.
    let topic: String
    let partitions: Int
    /// The consumer group.
    let group: String
    /// The database's URI.
    let database: String
    let kafka: KafkaServer
    /// The test's own PostgreSQL server, where it has one.
    let server: PrivatePostgres?
    let directory: URL
    /// A comparison has found a difference, so the logs are wanted.
    let hasFailed = Mutex(false)
    private let bin: String
    private let children = Mutex<[(name: String, process: ChildProcess)]>([])
    private let connection = Mutex<PostgresConnection?>(nil)

    private init(
        name: String, partitions: Int, bin: String, database: String, kafka: KafkaServer, server: PrivatePostgres?
    ) {
        self.name = name
        self.partitions = partitions
        self.bin = bin
        self.database = database
        self.kafka = kafka
        self.server = server
        topic = "\(name)-\(UUID().uuidString.prefix(6).lowercased())"
        group = topic
        directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e/\(topic)")
    }

    /// Runs a test in a world of its own; without a Kafka, or without executables, it prints SKIPPED and the reason.
    ///
    /// All processes that the test starts end with it. Logs of a failed test are printed and kept; `SLUICE_TEST_KEEP_LOGS=1`
    /// keeps all.
    /// - Parameters:
    ///   - replicas: of each partition, on the cluster of three nodes; `nil`: on a single node.
    ///   - kafka: the single node; `nil`: the one that most tests share.
    static func run(
        _ name: String, partitions: Int, replicas: Int? = nil, onServerOfItsOwn: Bool = false, kafka: KafkaServer? = nil,
        _ body: (World) async throws -> Void
    ) async throws {
        guard KafkaServer.home != nil else {
            return print(
                "SKIPPED: \(name) needs a real Apache Kafka: unpack one from https://kafka.apache.org/downloads and run "
                    + "KAFKA_HOME=<its folder> make e2e")
        }
        guard let bin = ProcessInfo.processInfo.environment["SLUICE_TEST_BIN_DIR"], !bin.isEmpty else {
            return print("SKIPPED: \(name) needs SLUICE_TEST_BIN_DIR, the folder of sluice and sluice-loadtest: run make e2e")
        }
        let start = ContinuousClock.now
        let server = onServerOfItsOwn ? try await PrivatePostgres.start() : nil
        let result: Result<Void, any Error>
        do {
            let uri: String
            if let server { uri = server.uri } else { uri = try await TestPostgres.database(migrated: true) }
            let kafka = kafka ?? (replicas == nil ? .shared : .cluster)
            result = .success(try await run(name, partitions, replicas, bin, uri, kafka, server, body))
        } catch {
            result = .failure(error)
        }
        try await server?.stop()
        print("\(name): \(ContinuousClock.now - start)")
        try result.get()
    }

    private static func run(
        _ name: String, _ partitions: Int, _ replicas: Int?, _ bin: String, _ database: String, _ kafka: KafkaServer,
        _ server: PrivatePostgres?, _ body: (World) async throws -> Void
    ) async throws {
        // Its nodes would take time and memory from the tests that follow.
        if replicas == nil { await KafkaServer.cluster.kill() }
        try await kafka.start()
        let world = World(
            name: name, partitions: partitions, bin: bin, database: database, kafka: kafka, server: server)
        try FileManager.default.createDirectory(at: world.directory, withIntermediateDirectories: true)
        try await kafka.create([(world.topic, partitions)], replicas: replicas ?? 1)
        let result: Result<Void, any Error>
        do { result = .success(try await body(world)) } catch { result = .failure(error) }
        var hasFailed = world.hasFailed.withLock { $0 }
        if case .failure = result { hasFailed = true }
        await world.close(hasFailed: hasFailed)
        if hasFailed, let server { print("=== PostgreSQL: \(await server.condition())") }
        try result.get()
    }

    private func close(hasFailed: Bool) async {
        let children = children.withLock { $0 }
        for child in children {
            // SIGKILL also ends a stopped process.
            await child.process.kill()
        }
        await connection.withLock { $0 }?.close()
        if hasFailed {
            // Processes with the same name share one log.
            for (name, process) in Dictionary(children.map { ($0.name, $0.process) }, uniquingKeysWith: { $1 }) {
                print("=== \(name) (\(process.log)):\n\(process.output.suffix(6000))")
            }
        } else if ProcessInfo.processInfo.environment["SLUICE_TEST_KEEP_LOGS"] == nil {
            try? FileManager.default.removeItem(at: directory)
        }
    }

    // MARK: Processes

    /// Starts one of our executables.
    func start(
        _ executable: String, _ arguments: [String], named name: String, environment: [String: String] = [:]
    ) throws -> ChildProcess {
        let all = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("SLUICE_") }
        let process = try ChildProcess.start(
            "\(bin)/\(executable)", arguments, environment: all.merging(environment) { $1 },
            log: directory.appendingPathComponent("\(name).log").path)
        children.withLock { $0.append((name, process)) }
        return process
    }

    /// A configuration file with the settings that all processes of the test share; others come from the environment.
    func configuration(topic: String? = nil) throws -> String {
        let checkout = TestPostgres.checkout
        let topic = topic ?? self.topic
        let mapping = try String(contentsOf: checkout.appendingPathComponent("examples/messages/mapping.yaml"), encoding: .utf8)
            .replacingOccurrences(of: "topics: [messages]", with: "topics: [\(topic)]")
        try #require(mapping.contains(topic))
        let mappingFile = directory.appendingPathComponent("\(topic).mapping.yaml")
        try mapping.write(to: mappingFile, atomically: true, encoding: .utf8)
        let file = directory.appendingPathComponent("\(topic).yaml")
        try """
        kafka: {bootstrap_servers: "\(kafka.bootstrapServers)", group_id: "\(group)", session_timeout: 3s}
        postgres: {migrations: "\(checkout.appendingPathComponent("examples/messages/migrations").path)"}
        mappings: ["\(mappingFile.path)"]
        http: {port: 0, shutdown_delay: 0s}

        """.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    // MARK: The database

    /// Runs SQL on the test's own connection, and reconnects where it was lost.
    @discardableResult
    func sql<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let current = connection.withLock { $0 }
        if let current, !current.isBroken { return try await current.perform(body) }
        var configuration = PostgresConfiguration(uri: database)
        configuration.applicationName = "test"
        configuration.statementTimeout = .seconds(60)
        let next = try await PostgresConnection.connect(configuration)
        connection.withLock { $0 = next }
        return try await next.perform(body)
    }

    /// Runs one statement.
    func sql(_ text: String) async throws { try await sql { session in _ = try session.execute(text) } }

    /// The number that a query returns.
    func number(_ query: String) async throws -> Int64 { try await sql { try $0.execute(query).int64(0, 0) } }

    /// By partition, the next offset to apply.
    func offsets() async throws -> [Int32: Int64] {
        let query = "SELECT partition, next_offset FROM sluice_offsets WHERE consumer_group = '\(group)' AND topic = '\(topic)'"
        return try await sql { session in
            let rows = try session.execute(query)
            var offsets: [Int32: Int64] = [:]
            for row in 0..<rows.rowCount { offsets[try rows.int32(row, 0)] = try rows.int64(row, 1) }
            return offsets
        }
    }

    /// Records applied so far, in all partitions.
    func applied() async throws -> Int64 { try await offsets().values.reduce(0, +) }

    /// Waits until so many records more than now are applied.
    func progress(_ records: Int64, within limit: Duration = .seconds(120)) async throws {
        let goal = try await applied() + records
        try await reached("\(goal) records are applied", within: limit) { try await self.applied() >= goal }
    }

    /// Waits until a condition is true; throws `Trouble` with its description where that takes too long.
    func reached(
        _ description: String, within limit: Duration = .seconds(60), _ condition: @Sendable () async throws -> Bool
    ) async throws {
        guard try await eventually(within: limit, every: .milliseconds(10), condition) else {
            throw Trouble("\(name): not within \(limit): \(description)")
        }
    }

    /// Runs `body` with a lock on the table, so that every transaction of a worker waits meanwhile.
    func holdingTable<R>(_ body: () async throws -> R) async throws -> R {
        let holder = try await PostgresConnection.connect(PostgresConfiguration(uri: database))
        try await holder.perform { session in
            _ = try session.execute("BEGIN")
            _ = try session.execute("LOCK TABLE messages IN SHARE MODE")
        }
        let result: R
        do { result = try await body() } catch {
            await holder.close()
            throw error
        }
        try await holder.perform { session in try session.rollback() }
        await holder.close()
        return result
    }

    /// Number of sessions of workers that wait for a lock.
    func waitingLanes() async throws -> Int64 {
        try await number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sluice lane%' "
                + "AND wait_event_type = 'Lock'")
    }

    /// Runs `body` while the test's own server is stopped.
    func frozen<R>(_ body: () async throws -> R) async throws -> R {
        guard let server else { throw Trouble("\(name) has no server of its own to freeze") }
        return try await server.frozen(body)
    }

    // MARK: The log

    /// All partitions of the topic.
    var sources: [TopicPartition] { (0..<partitions).map { TopicPartition(topic, Int32($0)) } }

    /// Runs `body` with a metadata client.
    func withMetadata<R>(_ body: (KafkaMetadata) async throws -> R) async throws -> R {
        let metadata = try KafkaMetadata.start(
            KafkaClientConfiguration(bootstrapServers: kafka.bootstrapServers), groupID: group)
        let result: Result<R, any Error>
        do { result = .success(try await body(metadata)) } catch { result = .failure(error) }
        _ = await metadata.close(deadline: .seconds(5))
        return try result.get()
    }

    /// By partition, the offset after the last record.
    func ends() async throws -> [Int32: Int64] {
        try await withMetadata { metadata in
            var ends: [Int32: Int64] = [:]
            // Also of partitions that were added.
            let count = try await metadata.topics([topic])[topic]?.get() ?? partitions
            let sources = (0..<count).map { TopicPartition(topic, Int32($0)) }
            for (source, end) in try await metadata.endOffsets(sources) { ends[source.partition] = try end.get() }
            return ends
        }
    }

    /// By partition, the offset the group has committed to Kafka.
    func committed() async throws -> [Int32: Int64] {
        try await withMetadata { metadata in
            var offsets: [Int32: Int64] = [:]
            for (source, offset) in try await metadata.committed(sources) { offsets[source.partition] = try offset.get() }
            return offsets
        }
    }
}
