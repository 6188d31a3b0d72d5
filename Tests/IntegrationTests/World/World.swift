// Owns what one test runs in: a topic, a group and a database of its own, and the processes it starts.

import Foundation
import Kafka
import Postgres
import Records
import Synchronization
import TestSupport
import Testing

/// Everything that runs on a real Apache Kafka, one test after the other: they share its broker and two cores.
@Suite(.serialized) struct EndToEnd {}

/// Why a test cannot go on.
typealias Trouble = ChildProcess.Failure

/// One test's own corner of the servers.
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
    /// Where the test has one of its own.
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

    /// Runs a test in a world of its own; where there is no Kafka, or no executables, it says so loudly instead.
    ///
    /// Whatever the test started ends with it. Logs are printed and kept where the test failed; `SLUICE_TEST_KEEP_LOGS=1` keeps all.
    static func run(
        _ name: String, partitions: Int, onServerOfItsOwn: Bool = false, _ body: (World) async throws -> Void
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
            result = .success(try await run(name, partitions, bin, uri, server, body))
        } catch {
            result = .failure(error)
        }
        try await server?.stop()
        print("\(name): \(ContinuousClock.now - start)")
        try result.get()
    }

    private static func run(
        _ name: String, _ partitions: Int, _ bin: String, _ database: String, _ server: PrivatePostgres?,
        _ body: (World) async throws -> Void
    ) async throws {
        let kafka = KafkaServer.shared
        try await kafka.start()
        let world = World(
            name: name, partitions: partitions, bin: bin, database: database, kafka: kafka, server: server)
        try FileManager.default.createDirectory(at: world.directory, withIntermediateDirectories: true)
        try await kafka.create([(world.topic, partitions)])
        let result: Result<Void, any Error>
        do { result = .success(try await body(world)) } catch { result = .failure(error) }
        var hasFailed = world.hasFailed.withLock { $0 }
        if case .failure = result { hasFailed = true }
        await world.close(hasFailed: hasFailed)
        try result.get()
    }

    private func close(hasFailed: Bool) async {
        let children = children.withLock { $0 }
        for child in children {
            // A stopped process takes this one, too.
            await child.process.kill()
        }
        await connection.withLock { $0 }?.close()
        if hasFailed {
            // A process that was started again under its name has one log with its predecessors.
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

    /// The settings every process of this test shares, in a file; what differs comes in by the environment.
    func configuration(topic: String? = nil) throws -> String {
        let checkout = TestPostgres.checkout
        let topic = topic ?? self.topic
        let mapping = try String(contentsOf: checkout.appendingPathComponent("config/mappings/messages.yaml"), encoding: .utf8)
            .replacingOccurrences(of: "topics: [messages]", with: "topics: [\(topic)]")
        try #require(mapping.contains(topic))
        let mappingFile = directory.appendingPathComponent("\(topic).mapping.yaml")
        try mapping.write(to: mappingFile, atomically: true, encoding: .utf8)
        let file = directory.appendingPathComponent("\(topic).yaml")
        try """
        kafka: {bootstrap_servers: "\(kafka.bootstrapServers)", group_id: "\(group)", session_timeout: 3s}
        postgres: {migrations: "\(checkout.appendingPathComponent("config/migrations").path)"}
        mappings: ["\(mappingFile.path)"]
        http: {port: 0}

        """.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    // MARK: The database

    /// Runs SQL on the test's own connection, which is made anew where it was lost.
    @discardableResult
    func sql<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let known = connection.withLock { $0 }
        if let known, !known.isBroken { return try await known.perform(body) }
        var configuration = PostgresConfiguration(uri: database)
        configuration.applicationName = "test"
        configuration.statementTimeout = .seconds(60)
        let fresh = try await PostgresConnection.connect(configuration)
        connection.withLock { $0 = fresh }
        return try await fresh.perform(body)
    }

    /// Runs one statement.
    func sql(_ text: String) async throws { try await sql { session in _ = try session.execute(text) } }

    /// The one number a query answers.
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

    /// Records applied so far, over all partitions.
    func applied() async throws -> Int64 { try await offsets().values.reduce(0, +) }

    /// Waits until so many records more than now are applied.
    func progress(_ records: Int64, within limit: Duration = .seconds(60)) async throws {
        let goal = try await applied() + records
        try await reached("\(goal) records are applied", within: limit) { try await self.applied() >= goal }
    }

    /// Waits for a fact; `Trouble` where it does not come about in time.
    func reached(
        _ fact: String, within limit: Duration = .seconds(30), _ condition: @Sendable () async throws -> Bool
    ) async throws {
        guard try await eventually(within: limit, every: .milliseconds(10), condition) else {
            throw Trouble("\(name): not within \(limit): \(fact)")
        }
    }

    /// Takes a lock on the table, so that every batch stays in the middle until `body` has returned.
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

    /// Sessions of workers that stand inside of a transaction and wait for a lock.
    func waitingLanes() async throws -> Int64 {
        try await number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sluice lane%' "
                + "AND wait_event_type = 'Lock'")
    }

    // MARK: The log

    /// All partitions of the topic.
    var sources: [TopicPartition] { (0..<partitions).map { TopicPartition(topic, Int32($0)) } }

    /// Asks Kafka about the group and the log.
    func asking<R>(_ body: (KafkaMetadata) async throws -> R) async throws -> R {
        let metadata = try KafkaMetadata.start(
            KafkaClientConfiguration(bootstrapServers: kafka.bootstrapServers), groupID: group)
        let result: Result<R, any Error>
        do { result = .success(try await body(metadata)) } catch { result = .failure(error) }
        _ = await metadata.close(deadline: .seconds(5))
        return try result.get()
    }

    /// By partition, the offset behind the last record.
    func ends() async throws -> [Int32: Int64] {
        try await asking { metadata in
            var ends: [Int32: Int64] = [:]
            for (source, end) in try await metadata.endOffsets(sources) { ends[source.partition] = try end.get() }
            return ends
        }
    }

    /// By partition, the offset the group has committed to Kafka.
    func mirrored() async throws -> [Int32: Int64] {
        try await asking { metadata in
            var offsets: [Int32: Int64] = [:]
            for (source, offset) in try await metadata.committed(sources) { offsets[source.partition] = try offset.get() }
            return offsets
        }
    }
}
