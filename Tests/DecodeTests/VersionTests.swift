// Tests the mapping key `version`: its faults, and which version Deletes and records without payload have.

import Decode
import Foundation
import Records
import Testing

private func row(_ operation: Records.Operation, _ cells: Cell...) -> Outcome { .row(Row(operation: operation, cells: cells)) }

@Suite struct VersionTests {
    private static func text(_ version: String, column: String = "{path: /v, type: int8}", more: String = "kafka_key: none")
        -> String
    {
        """
        topics: [t]
        table: t
        key: [id]
        action: {path: /a, create: [c], update: [u], upsert: [s], delete: [d]}
        columns:
          id: {path: /id, type: int4}
          at: \(column)
          name: {path: /name, type: text}
        version: \(version)
        \(more)
        """
    }

    @Test func `a version is a column and what equal ones mean`() throws {
        #expect(try compile(Self.text("at")).table.version == RowVersion(column: 1))
        #expect(try compile(Self.text("{column: at, equal: first}")).table.version == RowVersion(column: 1, keepsFirst: true))
        #expect(try mapping(columns: "id: {path: /id, type: int4}").table.version == nil)
    }

    private static let types = "int2, int4, int8, date, timestamp, timestamptz"

    @Test(arguments: [
        ("att", "{path: /v, type: int8}", "version 'att' is not one of the columns; did you mean 'at'?"),
        ("id", "{path: /v, type: int8}", "version: column id is in the key, which is the same for all versions of a row"),
        ("at", "{path: /v, type: text}", "version: column at must have one of the types \(types), without a cast"),
        ("at", "{path: /v, type: 'int8[]'}", "version: column at must have one of the types \(types), without a cast"),
        ("at", "{path: /v, type: int8, cast: numeric}", "version: column at must have one of the types \(types), without a cast"),
        (
            "at", "{path: /v, type: int8, optional: true}",
            "version: column at cannot be optional or nullable: every event has a version"
        ),
        (
            "at", "{path: /v, type: int8, nullable: true}",
            "version: column at cannot be optional or nullable: every event has a version"
        ),
        ("at", "{path: /v, type: int8, on: insert}", "version: column at cannot have on, if_null or merge"),
        (
            "at", "{metadata: offset, type: int8}",
            "version: column at needs a path, an event_path, metadata timestamp or metadata headers.NAME"
        ),
        (
            "at", "{constant: 5, type: int8}",
            "version: column at needs a path, an event_path, metadata timestamp or metadata headers.NAME"
        ),
        ("{column: at, equal: newest}", "{path: /v, type: int8}", "version: equal 'newest' is not one of first, last"),
        ("{equal: last}", "{path: /v, type: int8}", "version needs 'column'"),
        (
            "{column: at, null_payload: key}", "{path: /v, type: int8}",
            "version: null_payload 'key' is not one of timestamp, headers.NAME, skip"
        ),
        (
            "{column: at, null_payload: timestamp}", "{path: /v, type: int8}",
            "version: null_payload: timestamp needs a column of type timestamp or timestamptz, not int8"
        ),
    ])
    func `a column that is no version`(_ version: String, _ column: String, _ fault: String) {
        #expect(faults(Self.text(version, column: column)) == ["9: " + fault])
    }

    @Test func `a mapping that takes no version`() {
        #expect(faults(Self.text("at", more: "kafka_key: none\nskip_unchanged: true")).count == 1)
        for mode in ["append", "insert_only"] {
            #expect(
                faults(Self.text("at", more: "kafka_key: none\nmode: \(mode)"))
                    == ["9: version needs mode upsert; mode \(mode) changes no row"])
        }
        #expect(
            faults(
                Self.text("at", more: "kafka_key: none\nwrite: coalesce\n").replacingOccurrences(
                    of: "/name, type: text", with: "/name, type: text, optional: true"))
                == ["11: write: coalesce cannot be together with version and optional columns; remove it"])
    }

    private static let remedy =
        "9: a record with a null payload deletes the row of its key, and needs a version for that: add null_payload: headers.NAME "
        + "or timestamp, or null_payload: skip where such records delete nothing (as Debezium's, which follow a delete event), "
        + "or kafka_key: none"

    @Test func `a null payload needs a version`() throws {
        #expect(faults(Self.text("at", more: "")) == [Self.remedy])
        for more in ["kafka_key: none", "where: {path: /kind, equals: x}"] {
            #expect(faults(Self.text("at", more: more)) == [], "\(more)")
        }
        #expect(faults(Self.text("at", more: "where: {header: kind, equals: x}")) == [Self.remedy])
        for column in ["{metadata: timestamp}", "{metadata: headers.v, type: int8}"] {
            #expect(faults(Self.text("at", column: column, more: "")) == [], "\(column)")
        }
    }

    private func sample(_ value: String?, key: String? = "1", v: String? = nil, timestamp: Int64 = -1) -> Sample {
        var sample = Sample(value, key: key)
        if let v { sample.headers = [("v", Array(v.utf8))] }
        sample.timestamp = timestamp
        return sample
    }

    @Test func `a Delete has its version`() throws {
        let decoder = Decoder(mapping: try compile(Self.text("{column: at, null_payload: headers.v}", more: "")))
        #expect(
            decoder.outcomes([
                sample(#"{"a":"s","id":1,"v":5,"name":"x"}"#), sample(#"{"a":"d","id":1,"v":-6}"#), sample(#"{"a":"d","id":1}"#),
                sample(#"{"a":"d","id":1,"v":null}"#), sample(nil, v: "77"), sample(nil), sample(nil, v: "x"),
                sample(nil, key: nil, v: "7"),
            ]) == [
                row(.upsert, .int4(1), .int8(5), .text("x")), row(.delete, .int4(1), .int8(-6), .absent), .fault("missing_field"),
                .fault("wrong_type"), row(.delete, .int4(1), .int8(77), .absent), .fault("missing_field"),
                .fault("missing_field"),
                .fault("bad_key"),
            ])
        #expect(
            try decoder.fault(sample(nil, v: ""), good: sample(#"{"a":"d","id":1,"v":6}"#))
                == "missing_field: a record without payload deletes its row at the version in its header v, which must be a int8 for at"
        )
    }

    @Test func `a header or the record's timestamp is the version of all events`() throws {
        let header = Decoder(mapping: try compile(Self.text("at", column: "{metadata: headers.v, type: int4}", more: "")))
        #expect(
            header.outcomes([
                sample(#"{"a":"u","id":1,"name":"x"}"#, v: "3"), sample(#"{"a":"d","id":1}"#, v: "4"), sample(nil, v: "5"),
                sample(#"{"a":"d","id":1}"#),
            ]) == [
                row(.update, .int4(1), .int4(3), .text("x")), row(.delete, .int4(1), .int4(4), .absent),
                row(.delete, .int4(1), .int4(5), .absent), .fault("missing_field"),
            ])
        // Microseconds since 2000.
        let time = Decoder(mapping: try compile(Self.text("at", column: "{metadata: timestamp}", more: "")))
        #expect(
            time.outcomes([
                sample(#"{"a":"d","id":1}"#, timestamp: 946_684_800_001), sample(nil, timestamp: 946_684_800_002), sample(nil),
            ]) == [
                row(.delete, .int4(1), .int8(1000), .absent), row(.delete, .int4(1), .int8(2000), .absent),
                .fault("missing_field"),
            ])
        let other = Decoder(
            mapping: try compile(
                Self.text("{column: at, null_payload: timestamp}", column: "{path: /v, type: timestamptz}", more: "")))
        #expect(other.outcomes([sample(nil, timestamp: 946_684_800_003)]) == [row(.delete, .int4(1), .int8(3000), .absent)])
        // The ingress knows no record.
        #expect(validate(header, Array(#"{"a":"d","id":1}"#.utf8)).fault == nil)
    }

    @Test func `null payloads that are skipped`() throws {
        for more in ["", "kafka_key: none"] {
            let decoder = Decoder(mapping: try compile(Self.text("{column: at, null_payload: skip}", more: more)))
            let changes = decoder.decode(batch([sample(nil), sample(nil, key: nil)]))
            #expect(changes.changes.isEmpty && changes.faults.isEmpty)
        }
    }

    @Test func `Debezium's Deletes`() throws {
        func decoder(_ at: String) throws -> Decoder {
            Decoder(
                mapping: try compile(
                    """
                    topics: [t]
                    table: t
                    key: [id]
                    envelope: debezium
                    columns:
                      id: {path: /id, type: int4}
                      at: \(at)
                      name: {path: /name, type: text, optional: false}
                    version: {column: at, null_payload: skip}
                    """))
        }
        func event(_ before: String) -> String { #"{"before":\#(before),"after":null,"source":{"lsn":77},"op":"d"}"# }
        let lsn = try decoder("{event_path: /source/lsn, type: int8}")
        let key = #"{"id":9}"#
        #expect(
            lsn.outcomes([
                sample(event(#"{"id":9}"#), key: key), sample(event("null"), key: key), sample(event("null")),
                sample(#"{"before":{"id":9},"after":null,"op":"d"}"#, key: key), sample(nil, key: key),
                sample(#"{"before":null,"after":{"id":9,"name":"x"},"source":{"lsn":78},"op":"u"}"#, key: key),
            ]) == [
                row(.delete, .int4(9), .int8(77), .absent), row(.delete, .int4(9), .int8(77), .absent), .fault("bad_key"),
                .fault("missing_field"), row(.upsert, .int4(9), .int8(78), .text("x")),
            ])
        let column = try decoder("{path: /at, type: int8}")
        #expect(
            column.outcomes([
                sample(event(#"{"id":9,"at":5}"#), key: key), sample(event(#"{"at":6}"#), key: key),
                sample(event("null"), key: key),
            ]) == [
                row(.delete, .int4(9), .int8(5), .absent), row(.delete, .int4(9), .int8(6), .absent), .fault("missing_field"),
            ])
    }

    /// The former row of Debezium's Delete has the key only, unless the source table sends all of it.
    @Test func `a Delete of Debezium without its version says what the source needs`() throws {
        let mapping = try compile(
            """
            topics: [t]
            envelope: debezium
            table: t
            key: [id]
            version: {column: at, null_payload: skip}
            columns: {id: {path: /id, type: int4}, at: {path: /v, type: int8}}
            """)
        let changes = Decoder(mapping: mapping).decode(
            batch([
                Sample(#"{"op":"d","before":{"id":1},"after":null}"#),
                Sample(#"{"op":"d","before":{"id":1,"v":2},"after":null}"#),
            ]))
        #expect(changes.changes.count == 1)
        #expect(changes.faults.count == 1 && changes.faults.allSatisfy { $0.detail.contains("/before/v of its former row") })
        #expect(changes.faults.allSatisfy { $0.detail.contains("REPLICA IDENTITY FULL") })
    }
}
