// Proves that `sluice check-config --connect` names every fault of all mappings at once, each with its file and line.

import Kafka
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)), .enabled("needs PostgreSQL") { await TestPostgres.isAvailable }) struct CheckConfigTests {
    private static func mapping(_ topics: String, _ table: String, _ column: String) -> String {
        """
        topics: [\(topics)]
        table: \(table)
        envelope: upsert
        key: [id]
        columns:
          id: {path: /id, type: int8}
          \(column)
        """
    }

    @Test func allFaultsComeAtOnceEachWithItsLine() async throws {
        let broker = try EmbeddedBroker.start(topics: [("orders", 2), ("shop.a", 1)])
        defer { broker.stop() }
        // The embedded broker creates topics that are asked for.
        broker.setTopicError("ordes", code: 3)
        let uri = try await TestPostgres.database()
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        try await connection.perform { session in
            try session.executeScript(
                "CREATE TABLE orders (id int8 PRIMARY KEY, total numeric); CREATE TABLE items (id int8 PRIMARY KEY, n int2, u uuid)"
            )
        }
        await connection.close()
        let programs = try Programs()
        try programs.write("a.yaml", Self.mapping("orders, ordes", "orders", "totl: {path: /t, type: numeric}"))
        try programs.write("b.yaml", Self.mapping("^none", "items", "u: {path: /u, type: text}"))
        try programs.write("c.yaml", Self.mapping("'^shop'", "ordrs", "n: {path: /n, type: int2}"))
        try programs.write("d.yaml", Self.mapping("'^shop[.]'", "public.items", "n: {path: /n, type: int2}"))
        try programs.write("s.yaml", "mappings: [a.yaml, b.yaml, c.yaml, d.yaml]\n")
        let environment = [
            "SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "SLUICE_POSTGRES_URI": uri, "SLUICE_MAPPINGS": "",
        ]
        // Before and after Sluice's own tables exist.
        for state in ["before", "after"] {
            let found = try await programs.run(
                "sluice", "check-config --config s.yaml --connect", environment: environment,
                shell: "unset SLUICE_MAPPINGS; exec \"$@\"")
            #expect(found.code == 1, "\(state): \(found)")
            for (place, sentence) in [
                ("a.yaml:1", "topic ordes does not exist"), ("b.yaml:1", "no topic matches the expression ^none"),
                ("c.yaml:1", "topic shop.a matches expressions of the mappings c and d"),
                ("a.yaml:7", "table orders: column totl does not exist; did you mean total?"),
                ("b.yaml:7", "is of type uuid but expression is of type text"),
                ("c.yaml:2", "table ordrs: does not exist; did you mean orders?"),
            ] {
                let lines = found.output.split(separator: "\n").filter { $0.contains("mapping=\(place) ") }
                #expect(lines.contains { $0.contains(sentence) }, "\(state): \(place) \(sentence)\n\(found.output)")
            }
            if state == "before" {
                let migrated = try await programs.run(
                    "sluice", "migrate", environment: environment.merging(["SLUICE_MAPPINGS": "a.yaml"]) { $1 })
                #expect(migrated.code == 0, "\(migrated)")
            }
        }
        // What fits is told, also before the first start; one table may have two names.
        try programs.write("b.yaml", Self.mapping("orders", "items", "u: {path: /u, type: uuid}"))
        try programs.write("s.yaml", "mappings: [b.yaml, d.yaml]\n")
        let twice = try await programs.run(
            "sluice", "check-config --config s.yaml --connect", environment: environment,
            shell: "unset SLUICE_MAPPINGS; exec \"$@\"")
        #expect(twice.code == 1 && twice.output.contains("items: is also the table of the mapping b;"), "\(twice)")
        var fresh = environment
        fresh["SLUICE_POSTGRES_URI"] = try await TestPostgres.database()
        let other = try await PostgresConnection.connect(PostgresConfiguration(uri: try #require(fresh["SLUICE_POSTGRES_URI"])))
        try await other.perform { try $0.executeScript("CREATE TABLE items (id int8 PRIMARY KEY, u uuid)") }
        await other.close()
        fresh["SLUICE_MAPPINGS"] = "b.yaml"
        let fits = try await programs.run("sluice", "check-config --connect", environment: fresh)
        #expect(
            fits.code == 0 && fits.output.contains("# PostgreSQL: pending migrations: sluice_schema step 1")
                && fits.output.contains("; table items is written by coalesce"), "\(fits)")
    }
}
