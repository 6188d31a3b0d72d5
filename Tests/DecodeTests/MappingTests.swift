// Tests what mapping files compile to, and that all their faults are reported at once, with their lines.

import Decode
import Foundation
import Records
import Settings
import Testing

@Suite struct MappingTests {
    @Test func `the default mapping`() throws {
        let mapping = try compile(messagesText)
        #expect(mapping.topics == ["messages"])
        #expect(mapping.kafkaKey == .text)
        #expect(
            mapping.table
                == TableShape(
                    name: "messages",
                    columns: [
                        ColumnShape(name: "message_id", type: .int4), ColumnShape(name: "name", type: .text),
                        ColumnShape(name: "message", type: .text),
                    ], key: [0], onUpdate: [("last_updated", .currentDate)]))
    }

    @Test func `the shipped file is the default mapping`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "examples/messages/mapping.yaml"), encoding: .utf8)
        let shipped = try compile(text)
        let expected = try compile(messagesText)
        #expect(shipped.table == expected.table)
        #expect(shipped.topics == expected.topics)
        #expect(shipped.kafkaKey == expected.kafkaKey)
        let event = Sample(#"{"action":"Upsert","message_id":1,"data":{"name":"n","message":"m"}}"#)
        #expect(Decoder(mapping: shipped).outcomes([event]) == Decoder(mapping: expected).outcomes([event]))
    }

    @Test func `a mapping is called by its file's name`() throws {
        for (file, name) in [("a/b/orders.v2.yaml", "orders.v2"), ("orders", "orders")] {
            #expect(try Decode.Mapping.compile([YAML.parse(text: messagesText, file: file)])[0].name == name)
        }
    }

    @Test func `optional keys may be left out`() throws {
        let mapping = try compile(
            """
            topics: a
            table: s.t
            key: id
            action: {path: /op, delete: [d, D]}
            columns: {id: {path: /id, type: int2}}
            """)
        #expect(mapping.topics == ["a"])
        #expect(mapping.table.schema == "s" && mapping.table.name == "t" && mapping.table.mode == .upsert)
        let decoder = Decoder(mapping: mapping)
        #expect(decoder.outcomes([Sample(#"{"op":"D","id":1}"#)]) == [.row(Row(operation: .delete, cells: [.int2(1)]))])
        let composite = try Decode.Mapping.compile([
            YAML.parse(
                text: "topics: [t]\ntable: t\nkey: [b, a]\naction: {path: /x, create: [c]}\n"
                    + "columns: {a: {path: /a, type: int4}, b: {path: /b, type: int4}}", file: "test.yaml")
        ])
        #expect(composite[0].kafkaKey == .jsonArray && composite[0].table.key == [1, 0])
    }

    @Test func `the choice of writing belongs to the mapping`() throws {
        let rest = "topics: a\ntable: t\nkey: id\naction: {path: /op, delete: D}\ncolumns: {id: {path: /id, type: int4}}\n"
        #expect(try compile(rest).table.write == WriteChoice(.auto, triggers: .unknown))
        #expect(try compile(rest + "write: auto\ntriggers: unknown").table.write == WriteChoice())
        #expect(try compile(rest + "write: rounds").table.write == WriteChoice(.rounds))
        #expect(try compile(rest + "write: coalesce").table.write == WriteChoice(.coalesce))
        #expect(
            try compile(rest + "write: sequential\ntriggers: row_local").table.write
                == WriteChoice(.sequential, triggers: .rowLocal))
        #expect(
            faults(rest + "write: sequentially\ntriggers: rowlocal") == [
                "6: write 'sequentially' is not one of auto, coalesce, rounds, sequential; did you mean 'sequential'?",
                "7: triggers 'rowlocal' is not one of unknown, row_local; did you mean 'row_local'?",
            ])
    }

    @Test func `how updates and deletes are written`() throws {
        let rest = "topics: a\ntable: t\nkey: id\naction: {path: /op, delete: D}\n"
        func columns(_ policy: String) -> String {
            rest + "columns: {id: {path: /id, type: int4}, a: {path: /a, type: text, \(policy)}}\n"
        }
        let plain = try compile(columns("optional: true") + "delete: row\nskip_unchanged: false").table
        #expect(!plain.hasPolicies)
        for (text, policy) in [
            ("on: insert", ColumnPolicy(.insert)), ("on: update", ColumnPolicy(.update)), ("on: always", ColumnPolicy()),
            ("if_null: keep, nullable: true", ColumnPolicy(keepsIfNull: true)),
            ("merge: jsonb_concat, on: update", ColumnPolicy(.update, isMerged: true)),
        ] {
            #expect(try compile(columns(text)).table.columns[1].policy == policy)
        }
        let table = try compile(columns("optional: true") + "delete: {set: {gone: now, day: current_date}}\nskip_unchanged: true")
            .table
        #expect(table.deletion.map(\.column) == ["gone", "day"] && table.deletion.map(\.value) == [.now, .currentDate])
        #expect(table.skipsUnchanged && table.hasPolicies)
        #expect(
            faults(
                rest + "columns:\n  id: {path: /id, type: int4, on: insert}\n  a: {path: /a, type: text, if_null: keep}\n"
                    + "  b: {path: /b, type: text, on: inserts}\n  c: {path: /c, type: text, merge: concat, on: insert}\n"
                    + "delete: {set: {a: now, b c: never}}\nskip_unchanged: maybe\n") == [
                    "6: column id is in the key, which no update changes: remove on",
                    "7: column a: if_null has no effect, because null is refused; add nullable: true",
                    "8: column b: on 'inserts' is not one of always, insert, update; did you mean 'insert'?",
                    "9: column c: merge 'concat' is not one of jsonb_concat",
                    "9: column c: if_null and merge are for updates, which do not set the column (on: insert)",
                    "10: delete: set b c 'never' is not one of current_date, now",
                    "10: delete: 'a' is already one of the columns, or in on_update",
                    "11: skip_unchanged must be true or false",
                ])
        #expect(
            faults(columns("on: insert") + "write: coalesce") == [
                "6: write: coalesce cannot be together with on, if_null, merge, delete: {set: …} or skip_unchanged; remove it"
            ])
        #expect(faults(columns("optional: true") + "delete: rows") == ["6: delete 'rows' is not one of row; did you mean 'row'?"])
        #expect(
            faults(columns("optional: true") + "delete: {put: {x: now}}") == [
                "6: unknown key 'put' in delete",
                "6: delete needs 'row', or the columns that it sets, such as {set: {deleted_at: now}}",
            ])
    }
    private let types =
        "int2, int4, int8, text, date, timestamptz, bool, float4, float8, numeric, uuid, time, timestamp, interval, json, jsonb, bytea"

    @Test func `all faults at once, each with its line`() {
        let found = faults(
            """
            topic: [messages]
            envelope: debezum
            table: a.b.c
            mode: apend
            key: [id, nam, u]
            kafka_key: text
            version: seen
            action: {path: action, create: [c, d], delete: [d]}
            columns:
              id: {path: /id, type: int4, optional: true}
              name: {path: /name~2, type: tex}
              u: {path: /u, type: numeric}
              both: {path: /x, constant: 5, type: int4}
              none: {type: int4}
              untyped: {path: /y}
              meta: {metadata: topik}
              part: {metadata: partition, type: text}
              const: {constant: 70000, type: int2}
              all: {path: '', type: text}
              inner: {path: /id/x, type: text}
              flag: {path: /f, type: text, nullable: yes}
            on_update: {id: now, seen: today}
            """)
        #expect(
            found == [
                "1: unknown key 'topic' in the mapping; did you mean 'topics'?",
                "2: envelope 'debezum' is not one of action, upsert, debezium, cloudevents; did you mean 'debezium'?",
                "3: table must be a name or schema.name, each of 1 to 63 bytes",
                "4: mode 'apend' is not one of upsert, append, insert_only; did you mean 'append'?",
                "5: key 'nam' is not one of the columns; did you mean 'name'?",
                "6: kafka_key: text needs a key of one column; use kafka_key: json_array for 3 columns",
                "7: version 'seen' is not one of the columns",
                "8: the word 'd' is given twice",
                "8: path 'action' is not a JSON Pointer: write '/' before each name, and in names '~1' for '/' and '~0' for '~'; "
                    + "did you mean '/action'?",
                "10: column id is in the key and cannot be optional or nullable",
                "11: column name: type 'tex' is not one of \(types), or one of these with [] for an array; any other is a cast; "
                    + "did you mean 'text'?",
                "11: path '/name~2' is not a JSON Pointer: write '/' before each name, and in names '~1' for '/' and '~0' for '~'",
                "12: column u cannot be in the key: values of type numeric that are equal may have different bytes",
                "13: column both needs exactly one of path, event_path, metadata and constant",
                "14: column none needs exactly one of path, event_path, metadata and constant",
                "15: column untyped needs a type: \(types)",
                "16: column meta: metadata 'topik' is not one of topic, partition, offset, timestamp, key, headers.NAME; "
                    + "did you mean 'topic'?",
                "17: column part: metadata partition has the type int4 or int8",
                "18: column const: the constant is not of type int2",
                "19: path '' is the whole event; only a column of type json or jsonb can hold it",
                "20: path '/id/x' and '/id' cannot both be read: one is inside the other",
                "21: column flag: nullable must be true or false",
                "22: on_update: 'id' is already one of the columns",
                "22: on_update seen 'today' is not one of current_date, now",
            ], "\(found.joined(separator: "\n"))")
    }

    @Test func `more faults`() {
        let base = "topics: [t]\ntable: t\n"
        let action = "action: {path: /a, create: [c]}\n"
        #expect(
            faults(base) == [
                "1: the mapping needs 'key'", "1: the mapping needs 'columns'",
                "1: envelope action needs 'action': the path of the field and the words of each operation",
            ])
        #expect(
            faults(base + "key: [id]\n" + action + "columns: {id: {metadata: key}}") == [
                "5: column id is in the key and must have a path"
            ])
        #expect(
            faults(base + "key: [id, id]\n" + action + "columns: {id: {path: /a/b, type: int4}}\nkafka_key: json") == [
                "3: key 'id' is given twice", "4: path '/a' and '/a/b' cannot both be read: one is inside the other",
            ])
        #expect(
            faults(base + "key: [id]\naction: {create: [c]}\ncolumns: {id: {path: /id, type: jsonb}}") == [
                "4: action needs 'path'",
                "5: column id cannot be in the key: values of type jsonb that are equal may have different bytes",
            ])
        #expect(
            faults(base + "key: [id]\naction: {path: /x}\ncolumns: {id: {path: /id, type: int4}}") == [
                "4: action needs words for at least one operation, such as 'create: [Create]'"
            ])
        #expect(
            faults("topics: [a b, a, a]\ntable: t\nkey: [id]\n" + action + "columns: {id: {path: /id, type: int4}}") == [
                "1: 'a b' is not a topic name: up to 249 letters, digits, '.', '_' and '-'; an expression begins with '^'",
                "1: topic 'a' is given twice",
            ])
        #expect(
            faults("topics: [t]\ntable: {a: b}\nkey: [id]\n" + action + "columns: [id]") == [
                "2: table must be a single value", "5: columns must be a mapping of names to values",
            ])
    }

    /// What is found under a mistyped key is read as what was meant: nothing is called missing, and its own faults are found, too.
    @Test func `a mistyped key is one fault`() {
        #expect(
            faults(
                "topcs: [t]\nenvelop: upsert\ntabel: t\nkeys: [id]\ncolums:\n  id: {pth: /id, type: int}\n  j: /j\n") == [
                    "1: unknown key 'topcs' in the mapping; did you mean 'topics'?",
                    "2: unknown key 'envelop' in the mapping; did you mean 'envelope'?",
                    "3: unknown key 'tabel' in the mapping; did you mean 'table'?",
                    "4: unknown key 'keys' in the mapping; did you mean 'key'?",
                    "5: unknown key 'colums' in the mapping; did you mean 'columns'?",
                    "6: unknown key 'pth' in column id; did you mean 'path'?",
                    "6: column id: type 'int' is not one of \(types), or one of these with [] for an array; any other is a cast; did "
                        + "you mean 'int4'?",
                    "7: column j must be a mapping of names to values, such as {path: /j, type: text}",
                ])
        #expect(
            faults("topics: [t]\ntable: t\nenvelope: upser\nkey: id\ncolumns:\nid: {path: /id, type: int4}\n") == [
                "3: envelope 'upser' is not one of action, upsert, debezium, cloudevents; did you mean 'upsert'?",
                "5: columns has no entries: the lines that belong to it are indented further",
                "6: unknown key 'id' in the mapping",
            ])
    }

    @Test(
        "a type is known by its other names",
        arguments: [
            ("integer", "int4"), ("BIGINT", "int8"), ("smallint", "int2"), ("varchar(20)", "text"), ("character varying", "text"),
            ("string", "text"), ("boolean", "bool"), ("double precision", "float8"), ("\"decimal(10, 2)\"", "numeric"),
            ("datetime", "timestamp"), ("timestamp with time zone", "timestamptz"), ("TEXT", "text"), ("\"varchar[]\"", "text[]"),
            ("bytes", "bytea"), ("serial", "int4"), ("real", "float4"), ("timestamp(3) with time zone", "timestamptz"),
        ])
    func typeNames(name: String, meant: String) {
        let found = faults("topics: t\ntable: t\nenvelope: upsert\nkey: id\ncolumns:\n  id: {path: /id, type: \(name)}\n")
        #expect(found.count == 1 && found[0].hasSuffix("; did you mean '\(meant)'?"), "\(found)")
    }

    @Test func topicsOfKafkaItselfAreNotRead() {
        let found = faults(
            "topics: [t, __consumer_offsets]\ntable: t\nenvelope: upsert\nkey: id\ncolumns:\n  id: {path: /id, type: int4}\n")
        #expect(found == ["1: '__consumer_offsets' is a topic of Kafka itself, which is never read"])
    }

    @Test(
        "the pointer that a path of another syntax means",
        arguments: [
            ("id", "/id"), ("$.data.id", "/data/id"), ("data.id", "/data/id"), ("data/id", "/data/id"), ("$.a[0].b", "/a/0/b"),
        ])
    func paths(path: String, meant: String) {
        let found = faults("topics: t\ntable: t\nenvelope: upsert\nkey: id\ncolumns:\n  id: {path: \"\(path)\", type: int4}\n")
        #expect(found.count == 1 && found[0].hasSuffix("; did you mean '\(meant)'?"), "\(found)")
    }

    @Test func `the line of what a mapping says`() throws {
        let mapping = try compile(
            "topics:\n  - a\n  - b\ntable: t\nenvelope: upsert\nkey: id\ncolumns:\n  id: {path: /id, type: int4}\n"
                + "  x: {path: /x, type: text}\ndelete: {set: {gone: now}}\n")
        for (path, line) in [
            (["topics", "b"], 3), (["topics", "none"], 1), (["table"], 4), (["columns", "x"], 9), (["columns", "none"], 7),
            (["delete", "set", "gone"], 10), (["version"], 1), (["key"], 6),
        ] {
            #expect(mapping.line(of: path) == line, "\(path)")
        }
        #expect(mapping.tableName == "t")
    }

    @Test func `a topic belongs to one mapping`() {
        let text = "topics: [t]\ntable: t\nkey: [id]\naction: {path: /a, create: [c]}\ncolumns: {id: {path: /id, type: int4}}"
        let other = text.replacing("table: t", with: "table: u")
        #expect(
            faults(text, other)
                == ["1: topic 't' is also in 0.yaml; a topic belongs to one mapping, or to several of route.tables"])
    }

    @Test func `mappings have different names, and one of them changes the rows of a table`() throws {
        func file(_ name: String, _ topic: String, _ table: String, _ mode: String = "upsert") throws -> YAMLNode {
            try YAML.parse(
                text: "topics: [\(topic)]\ntable: \(table)\nmode: \(mode)\nkey: [id]\naction: {path: /a, create: [c]}\n"
                    + "columns: {id: {path: /id, type: int4}}", file: name)
        }
        func faults(_ files: YAMLNode...) -> String {
            do throws(MappingFaults) { return "\(try Decode.Mapping.compile(files).count)" } catch { return error.description }
        }
        #expect(
            try faults(file("eu/orders.yaml", "a", "eu.t"), file("us/orders.yaml", "b", "us.t"))
                == "us/orders.yaml:1: another mapping is called orders, too; dead letters and metrics name a mapping by its file")
        #expect(
            try faults(file("a.yaml", "a", "s.t"), file("b.yaml", "b", "t"), file("c.yaml", "c", "s.t"))
                == "c.yaml:1: table s.t is also in a.yaml; events of one row would have no order")
        #expect(try faults(file("a.yaml", "a", "t"), file("b.yaml", "b", "t", "append")) == "2")
        #expect(try faults(file("a.yaml", "a", "t", "insert_only"), file("b.yaml", "b", "t", "insert_only")) == "2")
    }

    @Test func `a fault reads file, line, message`() throws {
        let node = try YAML.parse(text: "topics: [t]", file: "x.yaml")
        do throws(MappingFaults) {
            _ = try Decode.Mapping.compile([node])
            Issue.record("compiled")
        } catch {
            #expect(error.description.hasPrefix("x.yaml:1: the mapping needs 'table'\nx.yaml:1: "))
        }
    }
}
