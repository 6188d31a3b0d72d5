// Applies a captured-looking stream of Debezium through decoder and lane, on a real PostgreSQL.

import Apply
import Decode
import Glibc
import Pipeline
import Postgres
import Records
import SluiceTables
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct DebeziumTests {
    private static let mapping = """
        topics: [messages]
        table: customers
        envelope: debezium
        key: [id]
        columns:
          id: {path: /id, type: int4}
          name: {path: /name, type: text}
          bio: {path: /bio, type: text, nullable: true}
          lsn: {event_path: /source/lsn, type: int8}
        """
    private static let table = """
        CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, bio text DEFAULT 'unknown', lsn int8);
        INSERT INTO customers VALUES (9, 'old', 'long and unchanged', 1);
        """

    private static func event(_ op: String, _ before: String, _ after: String, lsn: Int) -> String {
        #"{"before":\#(before),"after":\#(after),"source":{"table":"customers","lsn":\#(lsn)},"transaction":null,"op":"\#(op)","ts_ms":1}"#
    }

    private static func withSchema(_ payload: String) -> String {
        #"{"schema":{"type":"struct","fields":[],"optional":false,"name":"shop.customers.Envelope"},"payload":\#(payload)}"#
    }

    /// Records by offset: key and payload.
    private static let stream: [(key: String?, payload: String?)] = [
        (#"{"id":1}"#, event("r", "null", #"{"id":1,"name":"Ana","bio":"a"}"#, lsn: 10)),
        (#"{"id":2}"#, event("r", "null", #"{"id":2,"name":"Bob","bio":null}"#, lsn: 11)),
        (#"{"serverName":"shop"}"#, #"{"ts_ms":1700000000000}"#),
        (#"{"id":3}"#, event("c", "null", #"{"id":3,"name":"Cy","bio":"c"}"#, lsn: 12)),
        (#"{"id":9}"#, event("u", "null", #"{"id":9,"name":"new","bio":"__debezium_unavailable_value"}"#, lsn: 13)),
        // Of a row that is not there: the column's default.
        (#"{"id":4}"#, event("u", "null", #"{"id":4,"name":"Dee","bio":"__debezium_unavailable_value"}"#, lsn: 14)),
        (#"{"id":2}"#, event("d", #"{"id":2,"name":null,"bio":null}"#, "null", lsn: 15)),
        (#"{"id":2}"#, nil),
        (#"{"id":3}"#, event("d", "null", "null", lsn: 16)),
        (
            #"{"schema":{"type":"struct","fields":[{"field":"id"}]},"payload":{"id":1}}"#,
            withSchema(event("u", #"{"id":1,"name":"Ana","bio":"a"}"#, #"{"id":1,"name":"Anna","bio":"b"}"#, lsn: 17))
        ),
        (#"{"id":1}"#, event("t", "null", "null", lsn: 18)),
        (#"{"id":5}"#, event("c", "null", #"{"id":5,"name":"Eve","bio":"e"}"#, lsn: 19)),
    ]

    private func work(_ world: LaneWorld, from offset: Int, _ claim: PartitionClaim) -> [PartitionBatches] {
        let batch = RecordBatch(source: LaneWorld.source, generation: 1)
        for (index, record) in Self.stream.enumerated().dropFirst(offset) {
            Array((record.key ?? "").utf8).withUnsafeBytes { key in
                guard let payload = record.payload else {
                    batch.append(offset: Int64(index), timestamp: 1, key: key, value: nil)
                    return
                }
                Array(payload.utf8).withUnsafeBytes { batch.append(offset: Int64(index), timestamp: 1, key: key, value: $0) }
            }
        }
        return [
            PartitionBatches(
                source: LaneWorld.source, generation: 1, epoch: claim.epoch, expected: Int64(offset),
                batches: [world.decoder.decode(batch)])
        ]
    }

    private func rows(_ world: LaneWorld) async throws -> [String] {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: world.uri))
        let rows = try await connection.perform { session in
            let result = try session.execute("SELECT t::text FROM customers t ORDER BY id")
            return try (0..<result.rowCount).map { try result.text($0, 0) }
        }
        await connection.close()
        return rows
    }

    @Test func aStreamBecomesTheSourceTable() async throws {
        let world = try await LaneWorld(prepare: Self.table, mapping: Self.mapping)
        let before = ["(1,Anna,b,17)", "(4,Dee,unknown,14)", "(9,new,\"long and unchanged\",13)"]
        let result = try await world.lane.apply(work(world, from: 0, world.claim), attempt: 0)
        guard case .stopped([LaneWorld.source], let reason) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(reason.kind == .truncate && reason.description.hasPrefix("offset 10: the source table was truncated"))
        // What precedes the truncate is durable, and nothing after it.
        #expect(try await rows(world) == before)
        #expect(try await world.scalar("SELECT next_offset FROM sluice_offsets") == 10)
        #expect(try await world.count("sluice_dead_letters") == 0)

        let again = try await LaneWorld.claim(world.lane)
        world.lane.reset([LaneWorld.source])
        guard case .stopped = try await world.lane.apply(work(world, from: 10, again), attempt: 0) else {
            Issue.record("the truncate was passed")
            return
        }
        // What docs/debezium.md tells an operator to do.
        _ = try await world.lane.session { session in
            try session.executeScript(
                "BEGIN; TRUNCATE customers; UPDATE sluice_offsets SET next_offset = 11, last_offset = NULL; COMMIT")
        }
        let claim = try await LaneWorld.claim(world.lane)
        #expect(claim.nextOffset == 11)
        world.lane.reset([LaneWorld.source])
        guard case .applied(let counts) = try await world.lane.apply(work(world, from: 11, claim), attempt: 0) else {
            Issue.record("the partition does not go on")
            return
        }
        // Those before the truncate are counted with the next transaction: of eleven records a heartbeat is skipped.
        #expect(counts.skipped == 1 && counts.applied + counts.superseded == 10)
        #expect(try await rows(world) == ["(5,Eve,e,19)"])
        await world.lane.close()
    }

    /// Ingress, broker, worker and database: the record keys that the ingress makes are those that the worker expects.
    @Test func theProgramAppliesWhatItsIngressTakes() async throws {
        let programs = try Programs()
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        try await connection.perform { _ = try $0.executeScript(Self.table) }
        try programs.write("customers.yaml", Self.mapping)
        let (process, port) = try await programs.ingress(
            role: "all", environment: ["SLUICE_POSTGRES_URI": uri, "SLUICE_MAPPINGS": "customers.yaml"])
        defer { process.signal(SIGKILL) }
        try #require(
            await eventually(within: .seconds(30)) { process.output.contains("Partitions claimed") }, "\(process.output)")
        func ask(_ method: String, _ path: String, _ body: String = "") async throws -> LoopbackHTTP.Answer {
            try await LoopbackHTTP.ask(
                "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)", port: port)
        }
        // Without the Delete whose key is the record's only.
        let events = Self.stream.dropLast(2).enumerated().filter { $0.offset != 8 }.compactMap(\.element.payload)
        let answer = try await ask("POST", "/send", events.joined(separator: "\n"))
        #expect(answer.status == 200, "\(answer.text)")
        // What the worker would stop at is not taken.
        #expect(try await ask("POST", "/send", Self.event("t", "null", "null", lsn: 20)).status == 400)
        let expected = ["(1,Anna,b,17)", "(3,Cy,c,12)", "(4,Dee,unknown,14)", "(9,new,\"long and unchanged\",13)"]
        var found: [String] = []
        for _ in 0..<200 where found != expected {
            try await Task.sleep(for: .milliseconds(100))
            found = try await connection.perform { session in
                let result = try session.execute("SELECT t::text FROM customers t ORDER BY id")
                return try (0..<result.rowCount).map { try result.text($0, 0) }
            }
        }
        #expect(found == expected, "\(process.output)")
        let page = try await ask("GET", "/metrics").text.split(separator: "\n")
        #expect(page.contains("sluice_events_total{outcome=\"skipped\"} 1"), "the heartbeat")
        #expect(page.contains("sluice_key_mismatches_total 0"))
        await connection.close()
    }
}
