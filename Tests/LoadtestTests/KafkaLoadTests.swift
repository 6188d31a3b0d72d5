// Produces into an embedded broker, reads the log back, and lets a naive worker fill a database for verification to judge.

import Kafka
import Platform
import Postgres
import Records
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice_loadtest

@Suite struct KafkaLoadTests {
    private let partitions = 8

    private func produce(_ options: Options) async throws -> RunLedger {
        let ledger = RunLedger(options.plan)
        let load = try await KafkaLoad.start(options, ledger: ledger)
        var schedule = ScheduleMachine(
            start: MonotonicClock.nanoseconds(), rate: options.rate, events: options.events, duration: nil)
        try load.run(&schedule) { _, _ in .send }
        await load.finish()
        return ledger
    }

    private func ends(_ ledger: RunLedger) -> [Int64] {
        let written = ledger.state.withLock { $0.written }
        return (0..<partitions).map { $0 < written.count ? written[$0]?.next ?? 0 : 0 }
    }

    @Test func theLedgerSaysWhatTheLogHolds() async throws {
        let broker = try EmbeddedBroker.start(topics: [(name: "messages", partitions: partitions)])
        defer { broker.stop() }
        var options = Options()
        options.brokers = broker.bootstrapServers
        options.events = 20_000
        options.keys = 300
        options.skew = 1
        options.badFraction = 0.01
        let ledger = try await produce(options)
        let log = try await readBack(broker, topic: "messages", ends: ends(ledger))
        // The same model once more, from the log alone.
        let plan = options.plan
        var replayed = TableModel(keys: plan.keys)
        var writer = EventWriter(plan)
        var byJSON: [[UInt8]: UInt64] = [:]
        for index in 0..<UInt64(20_000) where plan.event(index).operation != .delete || plan.event(index).flaw != nil {
            byJSON[[UInt8](writer.json(plan.event(index)))] = index
        }
        var bad: Set<Coordinate> = []
        for record in log.joined() {
            if let index = byJSON[record.value] {
                let event = plan.event(index)
                if event.flaw != nil {
                    bad.insert(Coordinate(partition: record.partition, offset: record.offset))
                } else {
                    replayed.applied(event.operation, slot: event.slot, index: index)
                }
            } else {
                // A Delete: all of one key look the same.
                let slot = try #require(Int64(String(decoding: record.key, as: UTF8.self)).flatMap { plan.slot(id: $0) })
                replayed.applied(.delete, slot: slot, index: 0)
            }
        }
        #expect(log.joined().count == 20_000)
        ledger.state.withLock { state in
            #expect(state.counts.acknowledged + state.counts.bad == 20_000 && state.counts.errors == 0)
            #expect(Set(state.badCoordinates) == bad && bad.count > 50)
            #expect(state.disorder.count == 0)
            #expect(state.latencies.count == 20_000)
            for slot in 0..<plan.keys { #expect(state.model[slot] == replayed[slot]) }
        }
    }

    @Test func aMissingBrokerIsAClearError() async {
        var options = Options()
        options.brokers = "127.0.0.1:1"
        options.properties = ["socket.connection.setup.timeout.ms": "1000"]
        let ledger = RunLedger(options.plan)
        await #expect(throws: LoadError.self) { _ = try await KafkaLoad.start(options, ledger: ledger) }
    }

    @Test(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
    func aRightDatabaseIsVerifiedAndAWrongOneIsNot() async throws {
        let broker = try EmbeddedBroker.start(topics: [(name: "messages", partitions: partitions)])
        defer { broker.stop() }
        let group = "judge"
        var options = Options()
        options.brokers = broker.bootstrapServers
        options.postgres = try await TestPostgres.database(migrated: true)
        options.group = group
        options.events = 3000
        options.keys = 200
        options.firstID = 1_000_000
        options.badFraction = 0.02
        options.verifyTimeout = 0.2
        let database = try await Database.connect(options)
        let since = try await database.begin()
        let ledger = try await produce(options)
        let log = try await readBack(broker, topic: "messages", ends: ends(ledger))

        let before = try await database.verify(ledger, since: since) { _ in }
        #expect(before.findings.first?.hasPrefix("not applied after 0.2 s: ") == true)
        #expect(before.findings.contains { $0.contains("rows missing") })
        #expect(before.findings.contains { $0.contains("dead letters missing") })

        try await database.connection.perform { session in
            try applyNaively(log, group: group, topic: "messages", session)
            // A stranger's rows and dead letters are not the run's.
            try session.execute("INSERT INTO messages (message_id, name, message) VALUES (5, 'a', 'b')")
            try session.execute(
                """
                INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", key, reason)
                VALUES ('\(group)', 'messages', 0, 1000000000, '5', 'test')
                """)
        }
        let right = try await database.verify(ledger, since: since) { _ in }
        #expect(right.findings == [])
        ledger.state.withLock { state in
            #expect(right.rows == state.model.rowCount && right.captured == state.model.captureCount)
            #expect(right.deadLetters == state.badCoordinates.count && right.deadLetters > 20)
            #expect(right.events == Int(state.counts.acknowledged))
        }
        #expect(right.partitions == partitions)

        // One thing wrong at a time, each undone afterwards.
        let wrongs: [(what: String, sql: String)] = [
            ("rows missing", "DELETE FROM messages WHERE message_id = (SELECT max(message_id) FROM messages)"),
            ("another content", "UPDATE messages SET message = 'x' WHERE message_id = (SELECT max(message_id) FROM messages)"),
            (
                "rows that should not be there",
                """
                INSERT INTO messages (message_id, name, message)
                SELECT min(id), 'a', 'b' FROM generate_series(1000000, 1000199) id
                WHERE NOT EXISTS (SELECT FROM messages WHERE message_id = id)
                """
            ),
            (
                "other change capture counts",
                """
                INSERT INTO messages_cdc (message_id, operation_type, name_before, message_before, name_after, message_after)
                SELECT message_id, 'UPDATE', name_after, message_after, name_after, message_after
                FROM messages_cdc JOIN messages USING (message_id) WHERE message_id > 5 ORDER BY cdc_id DESC LIMIT 1
                """
            ),
            (
                "do not follow one another",
                "UPDATE messages_cdc SET message_after = 'x' WHERE cdc_id = (SELECT min(cdc_id) FROM messages_cdc "
                    + "JOIN (SELECT message_id FROM messages_cdc GROUP BY 1 HAVING count(*) > 1) many USING (message_id))"
            ),
            (
                "dead letters missing",
                "DELETE FROM sluice_dead_letters WHERE \"offset\" = (SELECT min(\"offset\") FROM sluice_dead_letters)"
            ),
            (
                "dead letters that should not be there",
                """
                INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", key, reason)
                VALUES ('\(group)', 'messages', 0, 1000000001, '1000007', 'test')
                """
            ),
            ("not applied after", "UPDATE sluice_offsets SET next_offset = next_offset - 1 WHERE partition = 3"),
        ]
        let other = try await PostgresConnection.connect(PostgresConfiguration(uri: options.postgres))
        for (what, sql) in wrongs {
            // Kept from the triggers, so that one wrong is one wrong.
            try await other.perform { session in
                _ = try session.executeScript(
                    """
                    CREATE TABLE kept_messages AS TABLE messages; CREATE TABLE kept_cdc AS TABLE messages_cdc;
                    CREATE TABLE kept_letters AS TABLE sluice_dead_letters; CREATE TABLE kept_offsets AS TABLE sluice_offsets;
                    SET session_replication_role = replica; \(sql);
                    """)
            }
            let wrong = try await database.verify(ledger, since: since) { _ in }
            #expect(wrong.findings.count == 1 && wrong.findings[0].contains(what), "\(what): \(wrong.findings)")
            try await other.perform { session in
                _ = try session.executeScript(
                    """
                    TRUNCATE messages, messages_cdc, sluice_dead_letters, sluice_offsets;
                    INSERT INTO messages TABLE kept_messages;
                    INSERT INTO messages_cdc OVERRIDING SYSTEM VALUE TABLE kept_cdc;
                    INSERT INTO sluice_dead_letters TABLE kept_letters; INSERT INTO sluice_offsets TABLE kept_offsets;
                    DROP TABLE kept_messages, kept_cdc, kept_letters, kept_offsets;
                    """)
            }
        }
        #expect(try await database.verify(ledger, since: since) { _ in }.isVerified)
        // A run whose range has rows is refused before anything is sent.
        await #expect(throws: LoadError.self) { _ = try await database.begin() }
        await other.close()
        await database.connection.close()
    }

    @Test func tokensCarryNumberAndAge() {
        for (index, dueAt, now) in [
            (UInt64(0), UInt64(0), UInt64(50_000)), (DeliveryToken.indexLimit - 1, 987_654_321_000_000, 987_654_321_450_000),
            // The clock of a token wraps around.
            (17, (1 << 27) * 10_000 - 20_000, (1 << 27) * 10_000 + 30_000),
        ] {
            let token = DeliveryToken(index: index, dueAt: dueAt)
            #expect(token.packed < 1 << 63)
            let back = DeliveryToken(packed: token.packed)
            #expect(back.index == index && back.age(at: now) == now - dueAt)
        }
    }
}
