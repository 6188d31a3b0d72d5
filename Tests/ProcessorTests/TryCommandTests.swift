// Proves what `sluice try` and `sluice mapping suggest` do to those who start them: output, exit codes, and topics of a broker.

import Foundation
import Kafka
import Records
import TestSupport
import Testing

@testable import sluice

@Suite(.timeLimit(.minutes(2))) struct TryCommandTests {
    private static let mapping =
        "topics: [t]\nenvelope: upsert\ntable: t\nkey: [id]\ncolumns: {id: {path: /id, type: int8}, n: {path: /n, type: text}}\n"

    private func fill(_ broker: EmbeddedBroker, _ records: [(key: String, value: String?)]) async throws {
        let client = KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: client))
        let topic = try await producer.prepare("t").topic
        for (key, value) in records {
            let error = Array(key.utf8).withUnsafeBytes { key in
                guard let value else { return producer.produce(topic, key: key, value: nil, partition: 0, token: 0) }
                return Array(value.utf8).withUnsafeBytes { producer.produce(topic, key: key, value: $0, partition: 0, token: 0) }
            }
            if let error { throw error }
        }
        _ = await producer.close(deadline: .seconds(10))
    }

    @Test func eventsAreTriedAndComparedWithAFile() async throws {
        let programs = try Programs()
        try programs.write("m.yaml", Self.mapping)
        try programs.write("e", #"{"id":1,"n":"a"}"# + "\n" + #"{"id":"1"}"# + "\n" + #"record {"value":null,"key":"1"}"#)
        let lines =
            "1: upsert id = 1 | n = a\n2: refused (decode:wrong_type): /id must be an integer, not a string\n3: delete id = 1\n"
        let plain = try await programs.run("sluice", "try --mapping m.yaml --events e")
        #expect(plain.code == 0 && plain.output == lines, "\(plain)")
        let input = try await programs.run("sluice", "try --mapping m.yaml --events - --json", shell: "exec \"$@\" <e")
        #expect(input.code == 0 && input.output.hasPrefix(#"{"position":"1","operation":"upsert","key":{"id":"1"}"#), "\(input)")
        try programs.write("x", lines)
        let same = try await programs.run("sluice", "try --mapping m.yaml --events e --expect x")
        #expect(same.code == 0 && same.output == "3 events as expected\n", "\(same)")
        try programs.write("x", lines.split(separator: "\n").joined(separator: "\r\n") + "\r\n\r\n\n")
        let windows = try await programs.run("sluice", "try --mapping m.yaml --events e --expect x")
        #expect(windows.code == 0 && windows.output == "3 events as expected\n", "\(windows)")
        try programs.write("x", "1: upsert id = 1 | n = b\n" + lines.split(separator: "\n").dropFirst().joined(separator: "\n"))
        let other = try await programs.run("sluice", "try --mapping m.yaml --events e --expect x")
        #expect(other.code == 1, "\(other)")
        #expect(
            other.output
                == "--- x\n+++ m.yaml\n@@ -1 +1 @@\n-1: upsert id = 1 | n = b\n+1: upsert id = 1 | n = a\n"
                + "sluice: the events do not become what x says\n")
    }

    @Test func aFileWithoutEventsIsSaid() async throws {
        let programs = try Programs()
        try programs.write("m.yaml", Self.mapping)
        try programs.write("e", "\u{FEFF}# none yet\n\n")
        let plain = try await programs.run("sluice", "try --mapping m.yaml --events e")
        #expect(plain.code == 0 && plain.output == "sluice: e has no events\n", "\(plain)")
        try programs.write("x", "\n")
        let none = try await programs.run("sluice", "try --mapping m.yaml --events e --expect x")
        #expect(none.code == 0 && none.output.contains("0 events as expected\n"), "\(none)")
        try programs.write("x", "1: delete id = 1\n")
        let some = try await programs.run("sluice", "try --mapping m.yaml --events e --expect x")
        #expect(some.code == 1 && some.output.contains("-1: delete id = 1\n") && some.output.contains("has no events"), "\(some)")
    }

    @Test func faultsOfTheFilesAreNamed() async throws {
        let programs = try Programs()
        try programs.write("wrong.yaml", "topics: [t]\ntabel: t\n")
        try programs.write("m.yaml", Self.mapping)
        try programs.write("e", "{}\nrecord {}\n")
        let cases: [(String, Int32, String)] = [
            (
                "try --mapping wrong.yaml --events e", 78,
                "wrong.yaml:2: unknown key 'tabel' in the mapping; did you mean 'table'?"
            ),
            ("try --mapping m.yaml --events e", 1, "e:2: a record needs 'value'"),
            ("try --mapping m.yaml --events none", 1, "none: cannot be opened"),
            ("try --mapping none.yaml --events e", 78, "none.yaml: cannot be opened"),
            ("try --mapping m.yaml", 2, "either --events FILE or --topic TOPIC"), ("try --events e", 2, "needs --mapping FILE"),
            ("mapping suggest", 2, "needs --topic TOPIC"),
            ("mapping suggest --topic t --table a.b.c", 2, "table must be a name or schema.name, each of 1 to 63 bytes"),
            ("mapping suggest --topic t --table a.", 2, "table must be a name or schema.name, each of 1 to 63 bytes"),
            ("mapping sugest --topic t", 2, "did you mean suggest?"),
            ("try --mapping m.yaml --topic t --limit 0", 2, "--limit must be a whole number from 1"),
        ]
        for (line, code, says) in cases {
            let ended = try await programs.run("sluice", line)
            #expect(ended.code == code && ended.output.contains(says), "\(line): \(ended)")
        }
    }

    /// Neither needs the mappings that the configuration names, nor a database.
    @Test func aTopicIsSampledWithTheConfigurationsBrokers() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 2), ("empty", 1)])
        defer { broker.stop() }
        try await fill(broker, [("1", #"{"id":1,"n":"a"}"#), ("2", #"{"id":2,"n":"b"}"#), ("1", nil)])
        let programs = try Programs()
        try programs.write(
            "s.yaml", "kafka: {bootstrap_servers: \"\(broker.bootstrapServers)\", group_id: g}\nmappings: [none.yaml]\n")
        let environment = ["SLUICE_MAPPINGS": "none.yaml"]
        let suggested = try await programs.run("sluice", "mapping suggest --topic t --config s.yaml", environment: environment)
        #expect(suggested.code == 0 && suggested.output.contains("key: [id]\nkafka_key: text\n"), "\(suggested)")
        try programs.write("m.yaml", suggested.output)
        let tried = try await programs.run("sluice", "try --mapping m.yaml --topic t --config s.yaml", environment: environment)
        #expect(
            tried.code == 0
                && tried.output == "t[0]@0: upsert id = 1 | n = a\nt[0]@1: upsert id = 2 | n = b\nt[0]@2: delete id = 1\n",
            "\(tried)")
        let first = try await programs.run(
            "sluice", "try --mapping m.yaml --topic t --limit 1 --config s.yaml", environment: environment)
        #expect(first.output == "t[0]@0: upsert id = 1 | n = a\n", "\(first)")
        let unfilled = try await programs.run(
            "sluice", "try --mapping m.yaml --topic empty --config s.yaml", environment: environment)
        #expect(unfilled.code == 0 && unfilled.output == "sluice: topic empty has no events\n", "\(unfilled)")
        let empty = try await programs.run("sluice", "mapping suggest --topic empty --config s.yaml", environment: environment)
        #expect(empty.code == 1 && empty.output.contains("topic empty has no records"), "\(empty)")
        // The embedded broker knows all groups that have committed; a sample has none.
        let metadata = try KafkaMetadata.start(KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "g")
        #expect(try await metadata.committed([.init("t", 0)])[.init("t", 0)]?.get() == .some(nil))
        _ = await metadata.close(deadline: .seconds(5))
    }

    @Test(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }) func aTableSaysTheTypes() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        try await fill(broker, [("1", #"{"id":1,"at":1772359200000}"#)])
        let uri = try await TestPostgres.database(migrated: true)
        let programs = try Programs()
        let environment = ["SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "SLUICE_POSTGRES_URI": uri]
        let ended = try await programs.run("sluice", "mapping suggest --topic t --table messages", environment: environment)
        #expect(ended.code == 0 && ended.output.contains("key: [message_id]\nkafka_key: text\n"), "\(ended)")
        #expect(ended.output.contains("message_id: {path: /id, type: int4}"), "\(ended)")
        #expect(ended.output.contains("# no field for column name (character varying), which is NOT NULL and has no default"))
        let missing = try await programs.run("sluice", "mapping suggest --topic t --table none", environment: environment)
        #expect(missing.code == 0 && missing.output.contains("# Table none does not exist yet: the columns"), "\(missing)")
        let mistyped = try await programs.run(
            "sluice", "mapping suggest --topic t --table public.mesages", environment: environment)
        let sentence = "# Table public.mesages does not exist; did you mean messages? The columns are those of the events.\n"
        #expect(mistyped.code == 0 && mistyped.output.contains(sentence), "\(mistyped)")
    }

    @Test func differencesHaveTheirLines() {
        func difference(_ old: String, _ new: String) -> [String] {
            LineDifference.lines(from: old.map(String.init), to: new.map(String.init))
        }
        #expect(difference("abc", "abc") == [])
        #expect(difference("abcdef", "axcdeg") == ["@@ -2 +2 @@", "-b", "+x", "@@ -6 +6 @@", "-f", "+g"])
        #expect(difference("ab", "abcd") == ["@@ -3 +3 @@", "+c", "+d"])
        #expect(difference("abc", "c") == ["@@ -1 +1 @@", "-a", "-b"])
    }
}
