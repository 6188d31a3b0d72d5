// Proves that a column without a format takes that of the schema which Debezium sends.

import Decode
import Foundation
import Records
import Settings
import Testing

/// One setting of a connector: what the schema and the values of the same row are.
private struct Mode: Sendable, CustomTestStringConvertible {
    let name: String
    /// Type, name and value of each field; `nil`: no name.
    let born, at, stamp, zoned, price, span: Field
    var testDescription: String { name }

    struct Field: Sendable {
        let type: String
        let name: String?
        let value: String
        var parameters = ""
        var schema: String {
            (#""type":"\#(type)","optional":true"#) + (name.map { #","name":"\#($0)","version":1"# } ?? "") + parameters
        }
    }

    var row: String {
        #"{"id":1,"born":\#(born.value),"at":\#(at.value),"stamp":\#(stamp.value),"zoned":\#(zoned.value),"price":\#(price.value),"span":\#(span.value)}"#
    }

    var fields: String {
        let all = [("born", born), ("at", at), ("stamp", stamp), ("zoned", zoned), ("price", price), ("span", span)]
        return #"[{"type":"int32","optional":false,"field":"id"},"#
            + all.map { #"{\#($0.1.schema),"field":"\#($0.0)"}"# }.joined(separator: ",") + "]"
    }

    /// As Kafka Connect's JsonConverter writes it.
    var schema: String {
        let row = #""type":"struct","fields":\#(fields),"optional":true,"name":"shop.public.items.Value""#
        return
            #"{"type":"struct","fields":[{\#(row),"field":"before"},{\#(row),"field":"after"},{"type":"struct","fields":[{"type":"int64","optional":false,"field":"lsn"}],"optional":false,"name":"io.debezium.connector.postgresql.Source","field":"source"},{"type":"string","optional":false,"field":"op"}],"optional":false,"name":"shop.public.items.Envelope","version":2}"#
    }

    var payload: String { #"{"before":null,"after":\#(row),"source":{"lsn":5},"op":"c","ts_ms":1}"# }
    var event: String { #"{"schema":\#(schema),"payload":\#(payload)}"# }
}

private typealias Field = Mode.Field

private let decimal = Field(
    type: "bytes", name: "org.apache.kafka.connect.data.Decimal", value: #""BNI=""#,
    parameters: #","parameters":{"scale":"2","connect.decimal.precision":"10"}"#)
private let zoned = Field(type: "string", name: "io.debezium.time.ZonedTimestamp", value: #""2026-03-01T10:00:00.25Z""#)
private let microSpan = Field(type: "int64", name: "io.debezium.time.MicroDuration", value: "90000000")

/// The row 1, 2026-03-01, 10:00:00.25, 2026-03-01 10:00:00.25, the same in UTC, 12.34, 90 s.
private let modes: [Mode] = [
    Mode(
        name: "adaptive, microseconds", born: Field(type: "int32", name: "io.debezium.time.Date", value: "20513"),
        at: Field(type: "int64", name: "io.debezium.time.MicroTime", value: "36000250000"),
        stamp: Field(type: "int64", name: "io.debezium.time.MicroTimestamp", value: "1772359200250000"), zoned: zoned,
        price: decimal, span: microSpan),
    Mode(
        name: "adaptive, milliseconds", born: Field(type: "int32", name: "io.debezium.time.Date", value: "20513"),
        at: Field(type: "int32", name: "io.debezium.time.Time", value: "36000250"),
        stamp: Field(type: "int64", name: "io.debezium.time.Timestamp", value: "1772359200250"), zoned: zoned,
        price: Field(type: "string", name: nil, value: #""12.34""#), span: microSpan),
    Mode(
        name: "nanoseconds", born: Field(type: "int32", name: "io.debezium.time.Date", value: "20513"),
        at: Field(type: "int64", name: "io.debezium.time.NanoTime", value: "36000250000000"),
        stamp: Field(type: "int64", name: "io.debezium.time.NanoTimestamp", value: "1772359200250000000"), zoned: zoned,
        price: Field(type: "double", name: nil, value: "12.34"),
        span: Field(type: "int64", name: "io.debezium.time.NanoDuration", value: "90000000000")),
    Mode(
        name: "any scale", born: Field(type: "int32", name: "io.debezium.time.Date", value: "20513"),
        at: Field(type: "int64", name: "io.debezium.time.MicroTime", value: "36000250000"),
        stamp: Field(type: "int64", name: "io.debezium.time.MicroTimestamp", value: "1772359200250000"), zoned: zoned,
        price: Field(type: "struct", name: "io.debezium.data.VariableScaleDecimal", value: #"{"scale":2,"value":"BNI="}"#),
        span: microSpan),
    Mode(
        name: "connect", born: Field(type: "int32", name: "org.apache.kafka.connect.data.Date", value: "20513"),
        at: Field(type: "int32", name: "org.apache.kafka.connect.data.Time", value: "36000250"),
        stamp: Field(type: "int64", name: "org.apache.kafka.connect.data.Timestamp", value: "1772359200250"), zoned: zoned,
        price: Field(
            type: "bytes", name: "org.apache.kafka.connect.data.Decimal", value: #""AeII""#,
            parameters: #","parameters":{"scale":"4"}"#), span: microSpan),
    Mode(
        name: "isostring", born: Field(type: "string", name: "io.debezium.time.IsoDate", value: #""2026-03-01Z""#),
        at: Field(type: "string", name: "io.debezium.time.IsoTime", value: #""10:00:00.25Z""#),
        stamp: Field(type: "string", name: "io.debezium.time.IsoTimestamp", value: #""2026-03-01T10:00:00.25Z""#), zoned: zoned,
        price: Field(type: "string", name: nil, value: #""12.34""#),
        span: Field(type: "string", name: "io.debezium.time.Interval", value: #""P0Y0M0DT0H1M30S""#)),
]

private let text = """
    topics: [shop.public.items]
    table: items
    envelope: debezium
    key: [id]
    columns:
      id: {path: /id, type: int4}
      born: {path: /born, type: date, nullable: true}
      at: {path: /at, type: time, nullable: true}
      stamp: {path: /stamp, type: timestamp, nullable: true}
      zoned: {path: /zoned, type: timestamptz, nullable: true}
      price: {path: /price, type: numeric, nullable: true}
      span: {path: /span, type: interval, nullable: true}
    """

/// 2026-03-01 is 9,556 days after 2000; 10:00:00.25 is 36,000,250,000 µs after midnight.
private let cells: [Cell] = [
    .int4(1), .int4(9556), .int8(36_000_250_000), .int8(9556 * 86_400_000_000 + 36_000_250_000),
    .int8(9556 * 86_400_000_000 + 36_000_250_000), .bytes([0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0D, 0x48]),
]

@Suite struct SchemaFormatTests {
    private func expect(_ mode: Mode, _ row: Row, sourceLocation: SourceLocation = #_sourceLocation) {
        // Trailing zeros of the scale 4 are kept.
        let price: Cell = mode.name == "connect" ? .bytes([0, 2, 0, 0, 0, 0, 0, 4, 0, 12, 0x0D, 0x48]) : cells[5]
        let span: Cell = mode.name == "isostring" ? .text("P0Y0M0DT0H1M30S") : .text("00:01:30")
        #expect(row.cells == Array(cells[..<5]) + [price, span], "\(mode.name)", sourceLocation: sourceLocation)
    }

    @Test(arguments: modes) fileprivate func eachModeGivesTheSameRow(_ mode: Mode) throws {
        let decoder = Decoder(mapping: try compile(text))
        for _ in 0..<3 { expect(mode, try decoder.row(mode.event)) }
        #expect(validate(decoder, Array(mode.event.utf8)).fault == nil)
    }

    @Test func aSchemaThatChangesIsFollowed() throws {
        let decoder = Decoder(mapping: try compile(text))
        let iso = try #require(modes.last)
        let plain = Mode(
            name: iso.name, born: iso.born, at: iso.at, stamp: iso.stamp, zoned: iso.zoned, price: modes[2].price, span: iso.span)
        for (index, mode) in (modes + modes.reversed() + modes).enumerated() {
            expect(mode, try decoder.row(mode.event))
            // Without a schema the mapping decides.
            if index % 2 == 0 { expect(plain, try decoder.row(plain.payload)) }
        }
        let changes = decoder.decode(batch(modes.map { Sample($0.event, key: #"{"id":1}"#) }))
        #expect(changes.faults.isEmpty && changes.changes.count == modes.count)
        for (index, mode) in modes.enumerated() { expect(mode, changes.row(index)) }
        // A schema that ends as the former one began, and one that is cut: neither is taken for it.
        let null = Field(type: "int32", name: nil, value: "null")
        let empty = Mode(name: "", born: null, at: null, stamp: null, zoned: null, price: null, span: null)
        _ = try decoder.row(modes[0].event)
        let fault = decoder.decode(batch([Sample(#"{"schema":\#(empty.schema),"payload":\#(modes[0].payload)}"#)])).faults.first
        #expect(fault?.detail == "/after/born must be a string, not an integer")
    }

    @Test func aSchemaIsReadWhereverItStands() throws {
        let decoder = Decoder(mapping: try compile(text))
        for mode in modes {
            expect(mode, try decoder.row(#"{"payload":\#(mode.payload),"schema":\#(mode.schema)}"#))
            expect(mode, try decoder.row(#"{ "schema" : \#(mode.schema) , "payload" : \#(mode.payload) }"#))
            // A brace in a text does not end it.
            let odd = mode.schema.dropLast() + #","doc":"}\"},\"payload\":{"}"#
            expect(mode, try decoder.row(#"{"schema":\#(odd),"payload":\#(mode.payload)}"#))
            expect(mode, try decoder.row(#"{"schema":\#(odd),"payload":\#(mode.payload)}"#))
        }
    }

    @Test func theMappingsFormatWinsAndKeysNeedOne() throws {
        let stated = text.replacingOccurrences(of: "type: date", with: "type: date, format: iso")
            .replacingOccurrences(of: "type: numeric", with: "type: numeric, format: base64_decimal, scale: 0")
        let decoder = Decoder(mapping: try compile(stated))
        let fault = decoder.decode(batch([Sample(modes[0].event)])).faults.first
        #expect(fault?.detail == "/after/born must be a string, not an integer")
        let iso = try #require(modes.last)
        let mixed = Mode(
            name: "mixed", born: iso.born, at: modes[0].at, stamp: modes[2].stamp, zoned: zoned, price: decimal, span: microSpan)
        #expect(try decoder.row(mixed.event).cells[5] == .bytes([0, 1, 0, 0, 0, 0, 0, 0, 0x04, 0xD2]))
        #expect(Array(try decoder.row(mixed.event).cells[..<5]) == Array(cells[..<5]))
        let key = Decoder(
            mapping: try compile(
                text.replacingOccurrences(of: "key: [id]", with: "key: [born]")
                    .replacingOccurrences(of: "type: date, nullable: true", with: "type: date")))
        let ofKey = key.decode(batch([Sample(modes[0].event)])).faults.first
        #expect(ofKey?.detail == "/after/born must be a string, not an integer")
    }

    /// `decimal.format: NUMERIC` of Kafka Connect's JsonConverter changes the value, and not the schema.
    @Test func aDecimalMayBeANumber() throws {
        let decoder = Decoder(mapping: try compile(text))
        let numeric = modes[0].event.replacingOccurrences(of: #""BNI=""#, with: "12.34")
        for event in [numeric, modes[0].event, numeric] { expect(modes[0], try decoder.row(event)) }
        let large = "123456789012345678901234567890.5"
        let row = try decoder.row(modes[0].event.replacingOccurrences(of: #""BNI=""#, with: large))
        #expect(row.cells[5] == (try decoder.row(modes[2].event.replacingOccurrences(of: "12.34", with: large))).cells[5])
        // A format of the mapping is strict.
        let stated = text.replacingOccurrences(of: "type: numeric", with: "type: numeric, format: base64_decimal, scale: 2")
        let fault = Decoder(mapping: try compile(stated)).decode(batch([Sample(numeric)])).faults.first
        #expect(fault?.detail == "/after/price must be a string, not a number with a fraction or an exponent")
        let odd = modes[0].event.replacingOccurrences(of: #""BNI=""#, with: "true")
        #expect(decoder.decode(batch([Sample(odd)])).faults.first?.detail == "/after/price must be a string, not a boolean")
    }

    /// Also where no column of the mapping itself needs the texts of numbers.
    @Test(arguments: ["36000250000.0", "3.600025e10", "36000250000.0000001"])
    func aTimeMayHaveAFractionOrAnExponent(_ number: String) throws {
        let at = try compile(
            "topics: [t]\ntable: t\nenvelope: debezium\nkey: [id]\ncolumns: {id: {path: /id, type: int4}, at: {path: /at, type: time}}"
        )
        let event = modes[0].event.replacingOccurrences(of: "36000250000", with: number)
        #expect(try Decoder(mapping: at).row(event).cells == [cells[0], cells[2]])
    }

    /// A time of day, a span and a moment are counts of the same units.
    @Test(arguments: [
        ("MicroTime", "MicroTimestamp", "at"), ("MicroTime", "MicroDuration", "at"), ("MicroTimestamp", "MicroTime", "stamp"),
        ("MicroTimestamp", "MicroDuration", "stamp"), ("MicroDuration", "MicroTime", "span"),
        ("MicroDuration", "MicroTimestamp", "span"), ("Date", "MicroTime", "born"),
    ])
    func aNameOfAnotherKindOfTimeIsIgnored(_ name: String, _ other: String, _ column: String) throws {
        let event = modes[0].event.replacingOccurrences(of: "time.\(name)\"", with: "time.\(other)\"")
        let fault = Decoder(mapping: try compile(text)).decode(batch([Sample(event)])).faults.first
        #expect(fault?.detail == "/after/\(column) must be a string, not an integer")
    }

    @Test func momentsAndDaysAreReadByColumnsOfBoth() throws {
        let dates = text.replacingOccurrences(of: "type: timestamp,", with: "type: date,")
            .replacingOccurrences(of: "type: date, nullable: true}\n  at", with: "type: timestamptz, nullable: true}\n  at")
        let row = try Decoder(mapping: compile(dates)).row(modes[0].event)
        #expect(row.cells[1] == .int8(9556 * 86_400_000_000) && row.cells[3] == .int4(9556))
    }

    @Test func whatFitsNoTypeChangesNothing() throws {
        let mode = modes[0]
        let decoder = Decoder(mapping: try compile(text))
        // A scale that is none, and a name of another type.
        for (old, new) in [(#""scale":"2""#, #""scale":"two""#), (#""parameters":{"scale":"2","#, #""other":{"scale":"2","#)] {
            let fault = decoder.decode(batch([Sample(mode.event.replacingOccurrences(of: old, with: new))])).faults.first
            #expect(fault?.detail.hasPrefix("/after/price must be a number") == true, "\(fault?.detail ?? "none")")
        }
        let wrong = mode.event.replacingOccurrences(of: "io.debezium.time.MicroTime\"", with: "io.debezium.time.Date\"")
        let fault = decoder.decode(batch([Sample(wrong)])).faults.first
        #expect(fault?.detail == "/after/at must be a string, not an integer")
        // What the schema says stands in the reason of a dead letter.
        let late = mode.event.replacingOccurrences(of: "36000250000", with: "\"10:00\"")
        #expect(
            decoder.decode(batch([Sample(late)])).faults.first?.detail == "/after/at must be a number, not a string")
        for broken in ["[]", "{}", #"{"fields":{}}"#, #"{"fields":[1,{"field":"after"},{"field":"after","fields":[null]}]}"#] {
            let last = try #require(modes.last)
            let event = #"{"schema":\#(broken),"payload":\#(last.payload)}"#
            let found = decoder.decode(batch([Sample(event)]))
            // The price is a text, which without a schema needs a format.
            #expect(found.faults.first?.detail.hasPrefix("/after/price must be a number") == true)
        }
    }
}
