// Proves on the program that mappings which call one table by two names, and topics that two mappings match, are not read.

import Foundation
import Kafka
import Postgres
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(3)))
struct MappingsOfOneTableTests {
    @Test func areRefusedByTheWorker() async throws {
        let broker = try EmbeddedBroker.start(topics: [("shop.a", 1), ("shop.b", 1)])
        defer { broker.stop() }
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        try await connection.perform { try $0.executeScript("CREATE TABLE t (id int PRIMARY KEY)") }
        await connection.close()
        let programs = try Programs()
        for (name, topic, table) in [("one", #"^shop\..*"#, "t"), ("two", #"^shop\.a"#, "public.t")] {
            try programs.write(
                "\(name).yaml",
                "{topics: ['\(topic)'], table: \(table), envelope: upsert, key: id, columns: {id: {path: /id, type: int4}}}")
        }
        let environment = [
            "SLUICE_POSTGRES_URI": uri, "SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers,
            "SLUICE_MAPPINGS": "one.yaml,two.yaml",
        ]
        let matched = "topic shop.a matches expressions of the mappings one and two"
        let faults = ["one", "two"].map { "is also the table of the mapping \($0);" }
        let process = try programs.start("sluice", "run --role worker", environment: environment)
        let reasons = [("shop.a", matched), ("shop.b", faults[1])]
        let areStopped = await eventually(within: .seconds(30)) {
            reasons.allSatisfy { topic, reason in
                process.output.split(separator: "\n").contains {
                    $0.contains("Partition stopped.") && $0.contains("partition=\(topic)[0]") && $0.contains(reason)
                }
            }
        }
        #expect(areStopped, "\(process.output)")
        process.signal(SIGTERM)
        _ = try await process.ended(within: .seconds(20))
    }
}
