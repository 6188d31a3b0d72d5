// Dead letters: the reasons they are counted under, how their records are encoded, and which rows they make on a real PostgreSQL.

import Postgres
import Records
import TestSupport
import Testing

@testable import SluiceTables

@Suite struct DeadLetterTests {
    @Test func reasonsAreFewAndStable() {
        #expect(DeadLetterReason.sql("23505") == "sql:unique")
        #expect(DeadLetterReason.sql("22P02") == "sql:data")
        #expect(DeadLetterReason.sql("P0001") == "sql:raised")
        #expect(DeadLetterReason.sql("99999") == "sql:other")
        #expect(DeadLetterReason.decode("malformed_json") == "decode:malformed_json")
        #expect(DeadLetterReason.allSQL.count == 11)
        #expect(DeadLetterReason.allSQL.contains(DeadLetterReason.sql("54001")))
    }

    @Test func aFingerprintTellsRecordsApart() {
        let batch = RecordBatch(source: TopicPartition("t", 0), generation: 1)
        let records: [(timestamp: Int64, key: String?, value: String?)] = [
            (1, "a", "b"), (2, "a", "b"), (1, nil, "b"), (1, "", "b"), (1, "ab", ""), (1, "a", nil), (-1, nil, nil),
        ]
        for record in records { batch.append(record.timestamp, record.key, record.value) }
        batch.append(1, "a", "b")
        let fingerprints = batch.records.map { batch.fingerprint(of: $0) }
        #expect(Set(fingerprints).count == records.count)
        #expect(fingerprints[7] == fingerprints[0], "the offset does not count")
        // Computed apart from this code: 24 bytes of 0xFF.
        #expect(fingerprints[6] == 5557926104951861613)
    }

    @Test func headersBecomeJSON() {
        var buffer = ByteBuffer()
        func add(_ name: [UInt8], _ value: [UInt8]?) {
            name.withUnsafeBytes { name in
                if let value {
                    value.withUnsafeBytes { RecordHeaders.append(name: name, value: $0, to: &buffer) }
                } else {
                    RecordHeaders.append(name: name, value: nil, to: &buffer)
                }
            }
        }
        add(Array("a\"\\\n".utf8), Array("hello".utf8))
        add([0, 0x41, 0xFF], nil)
        add([], [])
        let expected =
            #"[{"name":"a\"\\\n","value":"aGVsbG8="},{"name":"\#u{FFFD}A\#u{FFFD}","value":null},{"name":"","value":""}]"#
        func writer(isUnicode: Bool) -> DeadLetterWriter {
            DeadLetterWriter(group: "g", mapping: "m", table: "t", isUnicode: isUnicode, pool: ArrayPool(keptBytes: 0))
        }
        #expect(writer(isUnicode: true).json(buffer.bytes) == expected)
        buffer.removeAll()
        add(Array("a名".utf8), nil)
        #expect(writer(isUnicode: false).json(buffer.bytes) == #"[{"name":"a\\u{540D}","value":null}]"#)
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            #expect(Array(plain.utf8).withUnsafeBytes { DeadLetterWriter.base64($0) } == coded)
        }
    }
}

extension RecordBatch {
    /// Appends the next record.
    fileprivate func append(_ timestamp: Int64, _ key: String?, _ value: String?) {
        let (key, value) = (key.map { Array($0.utf8) }, value.map { Array($0.utf8) })
        (key ?? []).withUnsafeBytes { keyBytes in
            (value ?? []).withUnsafeBytes { valueBytes in
                append(
                    offset: Int64(count), timestamp: timestamp, key: key == nil ? nil : keyBytes,
                    value: value == nil ? nil : valueBytes)
            }
        }
    }
}

/// The first column of a query's rows, as text.
private func rows(_ session: PostgresSession, _ sql: String) throws -> [String] {
    let result = try session.execute(sql)
    return try (0..<result.rowCount).map { try result.text($0, 0) }
}

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct DeadLetterRowTests {
    private func write(_ value: String, _ reason: String, mapping: String = "orders", _ session: PostgresSession) throws {
        let records = RecordBatch(source: TopicPartition("t", 0), generation: 1)
        records.append(1, "k", value)
        let batch = ChangeBatch(records: records, rows: ChangeRows(columnCount: 1))
        let writer = DeadLetterWriter(
            group: "g", mapping: mapping, table: "shop.orders", isUnicode: true, pool: ArrayPool(keptBytes: 0))
        let statement = try #require(writer.encode([DeadLetter(batch: batch, record: 0, reason: reason, detail: "d")]))
        _ = try session.pipeline { try statement.queue(&$0) }
    }

    @Test func aTopicMadeAnewKeepsBothLettersAndARepeatedRecordIsAnAttempt() async throws {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(uri: try await TestPostgres.database(migrated: true)))
        try await connection.perform { session in
            try write("old", "decode:missing_field", session)
            try write("new", "sql:check", session)
            let letters = """
                SELECT concat_ws('|', convert_from(payload, 'UTF8'), reason, mapping, table_name, attempts, state)
                FROM sluice_dead_letters ORDER BY payload DESC
                """
            #expect(
                try rows(session, letters) == [
                    "old|decode:missing_field|orders|shop.orders|1|new", "new|sql:check|orders|shop.orders|1|new",
                ])
            try session.execute("UPDATE sluice_dead_letters SET state = 'seen', failed_at = 'epoch'")
            try write("old", "sql:unique", mapping: "orders2", session)
            #expect(
                try rows(session, letters) == [
                    "old|sql:unique|orders2|shop.orders|2|new", "new|sql:check|orders|shop.orders|1|seen",
                ])
            let latest = "SELECT convert_from(payload, 'UTF8') FROM sluice_dead_letters WHERE failed_at > 'epoch'"
            #expect(try rows(session, latest) == ["old"])
        }
        await connection.close()
    }
}
