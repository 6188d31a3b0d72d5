// Tests suggested mappings: what they say of events and tables, and that they take every event they were made from.

import Records
import Settings
import TestSupport
import Testing

@testable import Decode

@Suite struct SuggestionTests {
    private func records(_ samples: [Sample]) -> [RecordBatch] { samples.map { batch([$0], topic: "customers") } }

    private func suggest(_ samples: [Sample], table: String? = nil, outline: TableOutline? = nil) throws -> String {
        try MappingSuggestion.text(of: records(samples), topic: "customers", table: table, outline: outline)
    }

    /// What the suggestion refuses of its own sample.
    private func refused(_ text: String, _ samples: [Sample]) throws -> [String] {
        let decoder = Decoder(mapping: try compile(text))
        return records(samples).map { decoder.trial(of: $0).line }.filter { $0.hasPrefix("refused") }
    }

    private func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    @Test func `plain objects become upserts by the field that the record keys name`() throws {
        let samples = [
            Sample(
                #"{"customerId":7,"email":"a@b","account":{"balance":12.50,"open":true},"since":"2026-03-01T10:00:00Z","tags":["a"],"ts":1772359200000}"#,
                key: "7"),
            Sample(
                #"{"customerId":8,"email":null,"born":"1815-12-10","account":{"balance":3},"since":"2026-03-01T10:00:00+01:00","tags":[],"ts":1772359200001,"ref":"6b1f0c1e-0c52-4a53-9d3e-2f6f5f7f0001"}"#,
                key: "8"),
            Sample(nil, key: "8"),
        ]
        let text = try suggest(samples)
        #expect(
            lines(text) == [
                "# Suggested from 3 records of topic customers. Check it, then try it:",
                "# sluice try --mapping FILE --topic customers", "topics: [customers]", "envelope: upsert", "table: customers",
                "# The records' keys name the row.", "key: [customer_id]", "kafka_key: text", "columns:",
                "  customer_id:     {path: /customerId, type: int8}  # fits int4 so far",
                "  email:           {path: /email, type: text, nullable: true}  # null in 1",
                "  account_balance: {path: /account/balance, type: numeric}",
                "  account_open:    {path: /account/open, type: bool, optional: true}  # in 1 of 2 rows",
                "  since:           {path: /since, type: timestamptz}", "  tags:            {path: /tags, type: \"text[]\"}",
                "  ts:              {path: /ts, type: int8}  # milliseconds since 1970? type: timestamptz, format: epoch_ms",
                "  born:            {path: /born, type: date, optional: true}  # in 1 of 2 rows",
                "  ref:             {path: /ref, type: uuid, optional: true}  # in 1 of 2 rows",
            ], "\(text)")
        #expect(try refused(text, samples) == [])
    }

    @Test func `the envelope is known by its fields`() throws {
        let action = try suggest([
            Sample(#"{"event":"order.placed","id":1,"v":"x"}"#), Sample(#"{"event":"order.changed","id":1,"v":"y"}"#),
            Sample(#"{"event":"order.cancelled","id":1}"#),
        ])
        #expect(action.contains("envelope: action\n") && action.contains("key: [id]\nkafka_key: none\n"), "\(action)")
        #expect(
            action.contains(
                "action: {path: /event, create: [order.placed], update: [order.changed], delete: [order.cancelled]}\n"))
        #expect(action.contains("  v:  {path: /v, type: text}\n"), "a Delete carries its key only: \(action)")
        let debezium = [
            Sample(
                #"{"payload":{"op":"c","before":null,"after":{"id":1,"bio":1.5},"source":{}}}"#, key: #"{"payload":{"id":1}}"#),
            Sample(#"{"op":"u","after":{"id":1,"bio":"__debezium_unavailable_value"},"source":{}}"#, key: #"{"id":1}"#),
            Sample(#"{"op":"d","before":{"id":1},"after":null,"source":{}}"#, key: #"{"id":1}"#), Sample(nil, key: #"{"id":1}"#),
            Sample(#"{"ts_ms":5}"#),
        ]
        let changes = try suggest(debezium)
        #expect(changes.contains("envelope: debezium\n") && changes.contains("key: [id]\nkafka_key: json_object\n"), "\(changes)")
        #expect(
            changes.contains("  bio: {path: /bio, type: numeric, optional: true}  # in 1 of 2 rows\n"), "no value did not change")
        #expect(try refused(changes, debezium) == [])
        let cloud = try suggest([Sample(#"{"specversion":"1.0","id":"e","type":"x","source":"/s","data":{"id":5}}"#, key: "5")])
        #expect(cloud.contains("envelope: cloudevents\n") && cloud.contains("  id: {path: /id, type: int8}"), "\(cloud)")
        let none = try suggest([Sample(#"{"action":"Create","n":1}"#), Sample(#"{"action":"Cancel order","n":1.5}"#)])
        #expect(
            none.contains("envelope: upsert\n") && none.contains("mode: append\n") && none.contains("type: numeric"), "\(none)")
    }

    @Test func `a table says the columns, the types and the key`() throws {
        let outline = TableOutline(
            columns: [
                .init(name: "customer_id", type: "bigint", isNotNull: true),
                .init(name: "line", type: "smallint", isNotNull: true), .init(name: "name", type: "character varying(20)"),
                .init(name: "balance", type: "numeric(12,2)"), .init(name: "seen", type: "timestamp with time zone"),
                .init(name: "born", type: "date"), .init(name: "mood", type: "mood"), .init(name: "doc", type: "jsonb"),
                .init(name: "region", type: "text", isNotNull: true), .init(name: "label", type: "text"),
                .init(name: "total", type: "integer", isGenerated: true),
            ], key: ["customer_id", "line"])
        let samples = [
            Sample(
                #"{"id":1,"line":2,"name":"Ada","account":{"balance":"B88="},"seen":1772359200123,"born":-56270,"mood":"sad","doc":"{\"a\":1}","label":5,"extra":{"x":1},"total":3}"#,
                key: "[1,2]")
        ]
        let text = try suggest(samples, table: "sales.customers", outline: outline)
        #expect(
            Set(lines(text)).isSuperset(of: [
                "# no field for column region (text), which is NOT NULL and has no default",
                "# no column for /extra/x, /total", "table: sales.customers", "key: [customer_id, line]", "kafka_key: json_array",
                "  customer_id: {path: /id, type: int8}", "  line:        {path: /line, type: int2}",
                "  name:        {path: /name, type: text}",
                "  balance:     {path: /account/balance, type: numeric, format: base64_decimal, scale: 2}  # the scale is a guess",
                "  seen:        {path: /seen, type: timestamptz, format: epoch_ms}",
                "  born:        {path: /born, type: date, format: days}",
                "  mood:        {path: /mood, cast: mood}  # the server casts the text to mood",
                "  doc:         {path: /doc, type: text, cast: jsonb}",
                "  label:       {path: /label, cast: text}  # the server casts the text to text",
            ]), "\(text)")
        #expect(try refused(text, samples) == [])
        let empty = try suggest(
            [Sample(#"{"id":1,"at":null}"#, key: "1")], table: "t",
            outline: TableOutline(
                columns: [.init(name: "id", type: "bigint"), .init(name: "at", type: "timestamp with time zone")], key: ["id"]))
        #expect(empty.contains("# never with a value; null in 1\n"), "the type is the table's, and no guess: \(empty)")
        let missing = try suggest(samples, table: "sales.customers")
        #expect(missing.contains("# Table sales.customers does not exist yet"), "\(missing)")
        let fault = #expect(throws: SuggestionFault.self) {
            try suggest(samples, table: "t", outline: TableOutline(columns: [.init(name: "zzz", type: "text")], key: []))
        }
        #expect(fault?.description.contains("no field of topic customers has the name of a column of t") == true)
    }

    // MARK: Schemas

    /// A change event with its schema, as Kafka Connect writes it. A field is its name, the schema's part, and its value.
    private func change(_ fields: [(String, String, String)]) -> Sample {
        let row = fields.map { "\"\($0.0)\":\($0.2)" }.joined(separator: ",")
        let schema = fields.map { #"{"field":"\#($0.0)",\#($0.1)}"# }.joined(separator: ",")
        return Sample(
            #"{"schema":{"type":"struct","fields":[{"type":"struct","field":"after","fields":[\#(schema)]}]},"#
                + #""payload":{"op":"c","before":null,"after":{\#(row)},"source":{}}}"#, key: #"{"id":1}"#)
    }

    private func changes(price: String = #""BNI=""#) -> [Sample] {
        let decimal = #""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#
        return (1...2).map { number in
            change([
                ("id", #""type":"int32""#, "1"),
                ("price", decimal, price),
                ("born", #""type":"int32","name":"io.debezium.time.Date""#, "2051\(number)"),
                ("stamp", #""type":"int64","name":"io.debezium.time.MicroTimestamp""#, "1772359200250000"),
                ("at", #""type":"int64","name":"io.debezium.time.MicroTime""#, "36000250000"),
                ("span", #""type":"int64","name":"io.debezium.time.MicroDuration""#, "90000000"),
                (
                    "total", #""type":"struct","name":"io.debezium.data.VariableScaleDecimal""#,
                    #"{"scale":2,"value":"BNI="}"#
                ), ("rate", #""type":"string""#, #""1.50""#), ("note", decimal, "null"),
            ])
        }
    }

    @Test func `what the events' schema names needs no format`() throws {
        let samples = changes()
        let said = "  # the events' schema says the format"
        let plain = try suggest(samples)
        #expect(
            Set(lines(plain)).isSuperset(of: [
                "  id:    {path: /id, type: int8}  # fits int4 so far", "  price: {path: /price, type: numeric}" + said,
                "  born:  {path: /born, type: date}" + said, "  stamp: {path: /stamp, type: timestamp}" + said,
                "  at:    {path: /at, type: time}" + said, "  span:  {path: /span, type: interval}" + said,
                "  total: {path: /total, type: numeric}" + said, "  rate:  {path: /rate, type: text}",
                "  note:  {path: /note, type: numeric, nullable: true}  # null in 2; the events' schema says the format",
            ]), "\(plain)")
        #expect(try refused(plain, samples) == [])
        let numbers = changes(price: "12.34")
        let numeric = try suggest(numbers)
        #expect(numeric.contains("price: {path: /price, type: numeric}" + said), "\(numeric)")
        #expect(try refused(numeric, numbers) == [])
        // The scale of the table is another one.
        let outline = TableOutline(
            columns: [
                .init(name: "id", type: "integer", isNotNull: true), .init(name: "price", type: "numeric(12,4)"),
                .init(name: "stamp", type: "timestamp with time zone"), .init(name: "born", type: "date", isNotNull: true),
                .init(name: "at", type: "bigint"), .init(name: "rate", type: "numeric"),
            ], key: ["id", "born"])
        let table = try suggest(samples, table: "t", outline: outline)
        #expect(
            Set(lines(table)).isSuperset(of: [
                "  price: {path: /price, type: numeric}" + said, "  stamp: {path: /stamp, type: timestamptz}" + said,
                // Of the key, and of another kind.
                "  born:  {path: /born, type: date, format: days}", "  at:    {path: /at, type: int8}",
                "  rate:  {path: /rate, type: numeric}" + said,
            ]), "\(table)")
        #expect(try refused(table, samples) == [])
    }

    @Test func `a schema that some events lack says no format`() throws {
        let without = Sample(#"{"op":"c","after":{"id":2,"price":"BNI=","born":20513},"source":{}}"#, key: #"{"id":2}"#)
        let samples = changes() + [without]
        let outline = TableOutline(
            columns: [
                .init(name: "id", type: "integer", isNotNull: true), .init(name: "price", type: "numeric(12,4)"),
                .init(name: "born", type: "date"),
            ], key: ["id"])
        let text = try suggest(samples, table: "t", outline: outline)
        #expect(text.contains("price: {path: /price, type: numeric, format: base64_decimal, scale: 4}  # the scale is a guess\n"))
        #expect(text.contains("born:  {path: /born, type: date, format: days}\n"), "\(text)")
        #expect(try refused(text, samples) == [])
    }

    /// Values of a row as Debezium 3.6 wrote it. Early times and one far from the others decide no unit by themselves.
    @Test func `forms that only the table tells apart`() throws {
        let outline = TableOutline(
            columns: [
                .init(name: "id", type: "integer", isNotNull: true), .init(name: "ts", type: "timestamp without time zone"),
                .init(name: "ms", type: "timestamp(3) without time zone"), .init(name: "d", type: "date"),
                .init(name: "iv", type: "interval"), .init(name: "ea", type: "mood[]"), .init(name: "ina", type: "inet[]"),
                .init(name: "da", type: "date[]"), .init(name: "tsa", type: "timestamp without time zone[]"),
                .init(name: "na", type: "numeric(10,2)[]"), .init(name: "ja", type: "jsonb[]"),
                .init(name: "bya", type: "bytea[]"), .init(name: "doc", type: "jsonb"),
                .init(name: "pt", type: "point"), .init(name: "tx", type: "time without time zone"),
            ], key: ["id"])
        let samples = [
            Sample(
                #"{"op":"r","after":{"id":1,"ts":-3809471780537270,"ms":2468453882000,"d":-10284,"iv":93784000000,"ea":["sad","ok"],"ina":["10.1.0.0/16",null],"da":[-11400,94449],"tsa":[0,-3809471780537270],"na":["BNI="],"ja":["{\"a\": 1}",null],"bya":["+skm"],"doc":"12","pt":"(1,2)","tx":1.5},"source":{}}"#,
                key: #"{"id":1}"#),
            Sample(
                #"{"op":"u","after":{"id":1,"ts":1,"ms":0,"d":0,"iv":0,"ea":[],"ina":[],"da":[],"tsa":[],"na":[],"ja":[],"bya":[],"doc":"\"text\"","pt":null,"tx":"x"},"source":{}}"#,
                key: #"{"id":1}"#),
        ]
        let text = try suggest(samples, table: "t", outline: outline)
        #expect(
            Set(lines(text)).isSuperset(of: [
                "  ts:  {path: /ts, type: timestamp, format: epoch_us}", "  ms:  {path: /ms, type: timestamp, format: epoch_ms}",
                "  d:   {path: /d, type: date, format: days}",
                "  iv:  {path: /iv, type: interval, format: epoch_s}  # the unit is a guess",
                "  ea:  {path: /ea, type: \"text[]\", cast: \"mood[]\"}",
                "  ina: {path: /ina, type: \"text[]\", cast: \"inet[]\"}",
                "  da:  {path: /da, type: \"date[]\", format: days}",
                "  tsa: {path: /tsa, type: \"timestamp[]\", format: epoch_us}",
                "  na:  {path: /na, type: \"numeric[]\", format: base64_decimal, scale: 2}  # the scale is a guess",
                "  ja:  {path: /ja, type: \"text[]\", cast: \"jsonb[]\"}", "  bya: {path: /bya, type: \"bytea[]\"}",
                "  doc: {path: /doc, type: text, cast: jsonb}",
                "# /tx: no type takes all of its values",
            ]), "\(text)")
        #expect(try refused(text, samples) == [])
    }

    @Test func `small numbers are no seconds since 1970`() throws {
        let outline = TableOutline(
            columns: [
                .init(name: "id", type: "integer", isNotNull: true), .init(name: "day", type: "date"),
                .init(name: "at", type: "timestamp with time zone"), .init(name: "ok", type: "boolean"),
                .init(name: "s", type: "timestamp with time zone"), .init(name: "txt", type: "text[]"),
            ], key: ["id"])
        let samples = [
            Sample(#"{"id":1,"day":20240101,"at":5000000,"ok":0,"s":1772359200,"txt":[["a"],"b"]}"#, key: "1"),
            Sample(#"{"id":2,"day":19991231,"at":7,"ok":1,"s":5,"txt":[]}"#, key: "2"),
        ]
        let text = try suggest(samples, table: "t", outline: outline)
        #expect(
            Set(lines(text)).isSuperset(of: [
                "# /at: no type takes all of its values", "# /txt: no type takes all of its values",
                "  s:   {path: /s, type: timestamptz, format: epoch_s}",
            ]), "\(text)")
        for part in ["day: {path: /day, cast: date}", "ok:  {path: /ok, cast: boolean}"] {
            #expect(text.contains(part), "\(text)")
        }
    }

    @Test func `the schema tells JSON from texts, and money from its digits`() throws {
        func event(_ doc: String, _ price: String) -> Sample {
            let fields =
                #"{"type":"int32","optional":false,"field":"id"},{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1,"field":"doc"},{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"field":"price"}"#
            return Sample(
                #"{"schema":{"type":"struct","fields":[{"type":"struct","fields":[\#(fields)],"optional":true,"field":"after"}]},"payload":{"op":"c","after":{"id":1,"doc":\#(doc),"price":\#(price)},"source":{}}}"#,
                key: #"{"id":1}"#)
        }
        let samples = [event(#""12345678901234567890""#, #""AJ7Ryg==""#), event(#""\"text\"""#, "null")]
        let said = "the events' schema says the format"
        #expect(try suggest(samples).contains("doc:   {path: /doc, type: text, cast: jsonb}  # \(said)\n"))
        let outline = TableOutline(
            columns: [
                .init(name: "id", type: "integer", isNotNull: true), .init(name: "doc", type: "json"),
                .init(name: "price", type: "money"),
            ], key: ["id"])
        let text = try suggest(samples, table: "t", outline: outline)
        #expect(text.contains("doc:   {path: /doc, type: text, cast: json}  # \(said)\n"), "\(text)")
        #expect(text.contains("price: {path: /price, type: numeric, cast: money, nullable: true}  # "), "\(text)")
        #expect(try refused(text, samples) == [])
    }

    @Test(arguments: [
        ("a1", "format: hex}"), ("deadbeef", "format: hex}  # hex or base64?"), ("3q0=", "type: bytea}"),
        ("a-b!", "cast: bytea}"),
    ])
    func `hexadecimal digits are taken for such`(_ value: String, _ ending: String) throws {
        let outline = TableOutline(
            columns: [.init(name: "id", type: "integer", isNotNull: true), .init(name: "b", type: "bytea")], key: ["id"])
        let text = try suggest([Sample(#"{"id":1,"b":"\#(value)"}"#, key: "1")], table: "t", outline: outline)
        #expect(lines(text).last?.hasPrefix("  b:  {path: /b, ") == true && text.contains(ending), "\(text)")
        let none = try suggest([Sample(#"{"id":1,"b":null}"#, key: "1")], table: "t", outline: outline)
        #expect(none.contains("{path: /b, type: bytea, nullable: true}"), "\(none)")
    }

    @Test(arguments: [
        ("1772359200", "seconds since 1970? type: timestamptz, format: epoch_s"),
        ("1772359200000", "milliseconds since 1970? type: timestamptz, format: epoch_ms"),
        ("1772359200000000", "microseconds since 1970? type: timestamptz, format: epoch_us"), ("946684799", "fits int4 so far"),
    ])
    func `integers that may be times are said`(_ value: String, _ remark: String) throws {
        #expect(try suggest([Sample(#"{"at":\#(value)}"#)]).contains("at: {path: /at, type: int8}  # \(remark)\n"))
    }

    // MARK: What is not known

    @Test func `what cannot be a column or be decided is said`() throws {
        let samples = [
            Sample(#"{"a":1,"a":2,"b\u0000":1,"c":[],"d":null,"e":{"x":{"y":1}},"f":"a\u0000b","g":1,"h":1e999999}"#),
            Sample(#"{"a":1,"c":[],"d":null,"e":{"x":{"y":1}},"f":"","g":"x","h":1}"#),
        ]
        let text = try suggest(samples)
        for line in [
            "# /a is in one event twice, so it cannot be read", #"# "/b\u0000" has a NUL in its name, which no mapping can say"#,
            "  c:   {path: /c, type: jsonb}  # only empty arrays: the type is a guess",
            "  d:   {path: /d, type: text, nullable: true}  # never with a value: the type is a guess; null in 2",
            "  e_x: {path: /e/x, type: jsonb}", "  f:   {path: /f, type: text, nul: strip}", "  g:   {path: /g, type: jsonb}",
            "  h:   {path: /h, type: json, nul: strip}",
        ] { #expect(lines(text).contains(line), "\(line) is not in \(text)") }
        #expect(try refused(text, samples) == [])
        let mixed = try suggest([Sample(#"{"n":1}"#), Sample("[1]"), Sample(nil, key: "1")])
        #expect(
            mixed.contains("# No JSON objects, which become dead letters: 1.")
                && mixed.contains("# Refused records of the sample: 1; the first: "))
    }

    @Test func `a sample without events is an error that says so`() {
        let cases: [([Sample], String)] = [
            ([], "topic customers has no records"), ([Sample(nil, key: "1")], "have no payload"),
            ([Sample("plain"), Sample("5")], "none of the 2 records of topic customers is a JSON object"),
            ([Sample(bytes: [0, 0, 0, 0, 1, 2])], "Avro"), ([Sample("{}")], "no field that could be a column"),
        ]
        for (samples, says) in cases {
            let fault = #expect(throws: SuggestionFault.self) { try suggest(samples) }
            #expect(fault?.description.contains(says) == true, "\(String(describing: fault))")
        }
    }

    @Test(arguments: [
        ("customerId", "customer_id"), ("HTTPStatus", "http_status"), ("kebab-case", "kebab_case"), ("__a__", "a"), ("", ""),
        ("order.placed", "order_placed"), ("ID", "id"), ("Größe2", "größe2"), ("$%", ""),
    ])
    func `names are in snake case`(_ name: String, _ snake: String) { #expect(SuggestedName.snakeCase(name) == snake) }

    @Test func `columns have different names of at most 63 bytes`() {
        let long = String(repeating: "ä", count: 40)
        #expect(SuggestedName.column([long], taken: []).utf8.count == 62)
        #expect(SuggestedName.column(["a", "B"], taken: ["a_b", "a_b_2"]) == "a_b_3")
        #expect(SuggestedName.column(["-"], taken: []) == "field")
    }

    // MARK: Random objects

    /// JSON of a random kind, often one that types refuse.
    private func value(_ random: inout SeededRandom, depth: Int) -> String {
        let strings = [
            "\"\"", #""null""#, #""2026-03-01""#, #""2026-03-01T10:00:00Z""#, #""2026-03-01 10:00:00""#, #""a\u0000b""#,
            #""é\n\u2028""#,
            #""6b1f0c1e-0c52-4a53-9d3e-2f6f5f7f0001""#, #""__debezium_unavailable_value""#, #""12""#,
        ]
        switch Int.random(in: 0..<(depth > 2 ? 6 : 8), using: &random) {
        case 0: return "null"
        case 1: return random.chance(0.5) ? "true" : "false"
        case 2:
            return ["0", "-1", "2147483648", "9223372036854775808", "123456789012345678901234567890"].randomElement(
                using: &random)!
        case 3: return ["0.5", "-12.50", "1e3", "1e400", "1e-400", "1e999999"].randomElement(using: &random)!
        case 4, 5: return strings.randomElement(using: &random)!
        case 6:
            let count = Int.random(in: 0...3, using: &random)
            return "[" + (0..<count).map { _ in value(&random, depth: depth + 1) }.joined(separator: ",") + "]"
        default: return object(&random, depth: depth + 1)
        }
    }

    private static let names = [
        "id", "a", "A", "a_b", "a/b", "a~b", "", " ", "null", "true", "on", "äöü", "\\n", "\\ufffe", "\\u0000", "#x", "a: b", "'",
        "\\\"",
        "{", "0", "userId", "data", "payload", "schema", "op", "type", "before", "specversion",
        "long" + String(repeating: "x", count: 70),
    ]

    private func object(_ random: inout SeededRandom, depth: Int) -> String {
        let count = Int.random(in: 0...(depth == 0 ? 8 : 3), using: &random)
        let fields = (0..<count).map { _ in
            "\"\(Self.names.randomElement(using: &random)!)\":\(value(&random, depth: depth))"
        }
        return "{\(fields.joined(separator: ","))}"
    }

    @Test func `a suggestion takes every event of a random sample`() throws {
        var random = SeededRandom.printed("a suggestion takes every event of a random sample")
        var suggested = 0
        for round in 0..<400 {
            // Some fields are of one kind in all events, the others of any.
            let stable = ["id", "n", "s", "o"].map { name in (name, value(&random, depth: 1)) }
            let samples = (0..<Int.random(in: 1...8, using: &random)).map { number in
                let fields = stable.map { random.chance(0.9) ? "\"\($0)\":\($1)" : "\"x\":1" }
                let more = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    "\"\(Self.names.randomElement(using: &random)!)\":\(value(&random, depth: 1))"
                }
                var sample = Sample("{\((["\"k\":\"k\(number)\""] + fields + more).joined(separator: ","))}")
                if random.chance(0.7) { sample.key = Array("k\(number)".utf8) }
                return sample
            }
            let text: String
            do {
                text = try suggest(samples)
            } catch {
                Issue.record("round \(round): \(error)")
                continue
            }
            suggested += 1
            let refused = try refused(text, samples)
            #expect(refused.isEmpty, "round \(round): \(refused)\n\(text)")
            if samples.contains(where: { $0.key != nil }) { #expect(text.contains("key: [k]"), "round \(round): \(text)") }
        }
        #expect(suggested == 400)
    }
}
