// Tests every fault: its reason, its message, and that other records of the batch are not affected.

import Decode
import Foundation
import Records
import Testing

@Suite struct FaultTests {
    private static let good = Sample(#"{"action":"Create","message_id":1,"data":{"name":"n","message":"m"}}"#)
    private let decoder: Decoder

    init() throws { decoder = Decoder(mapping: try compile(messagesText)) }

    private func fault(_ sample: Sample) throws -> String { try decoder.fault(sample, good: Self.good) }

    private static func event(
        action: String = #""Create""#, id: String = "1", name: String = #""n""#, more: String = ""
    ) -> String {
        #"{"action":\#(action),"message_id":\#(id),"data":{"name":\#(name),"message":"m"}\#(more)}"#
    }

    private static let cases: [(String, String)] = [
        ("", "malformed_json: the payload is empty, which is not JSON"),
        (" ", "malformed_json: malformed JSON at byte 1"),
        ("{", "malformed_json: malformed JSON at byte 1"),
        ("{}{}", "malformed_json: malformed JSON at byte 2"),
        ("\u{FEFF}{}", "malformed_json: malformed JSON at byte 0"),
        ("nulL", "malformed_json: malformed JSON at byte 3"),
        (event(id: "01"), "malformed_json: malformed JSON at byte 33, in /message_id"),
        (event(name: #""\x""#), "malformed_json: malformed JSON at byte 51, in /data/name"),
        (event(name: "\"\t\""), "malformed_json: malformed JSON at byte 50, in /data/name"),
        (event(more: #","x":[1,,tru]"#), "malformed_json: malformed JSON at byte 75"),
        (event(more: #","x":tru"#), "malformed_json: malformed JSON at byte 75"),
        (event(more: #","x":1."#), "malformed_json: malformed JSON at byte 74"),
        (event(more: ","), "malformed_json: malformed JSON at byte 68"),
        ("[]", "not_an_object: the event must be a JSON object, not an array"),
        ("null", "not_an_object: the event must be a JSON object, not null"),
        ("12", "not_an_object: the event must be a JSON object, not an integer"),
        ("\"x\"", "not_an_object: the event must be a JSON object, not a string"),
        ("{}", "missing_field: /action is missing"),
        (#"{"action":"Create"}"#, "missing_field: /message_id is missing"),
        (#"{"action":"Delete"}"#, "missing_field: /message_id is missing"),
        (#"{"action":"Update","message_id":1}"#, "missing_field: /data/name is missing"),
        (#"{"action":"Update","message_id":1,"data":null}"#, "missing_field: /data/name is missing"),
        (#"{"action":"Update","message_id":1,"data":{"name":"n"}}"#, "missing_field: /data/message is missing"),
        (#"{"action":"Update","message_id":1,"data":[]}"#, "wrong_type: /data must be an object, not an array"),
        (#"{"action":"Update","message_id":1,"data":"x"}"#, "wrong_type: /data must be an object, not a string"),
        (event(action: "1"), "wrong_type: /action must be a string, not an integer"),
        (event(action: "null"), "wrong_type: /action must be a string, not null"),
        (event(action: #""create""#), "unknown_action: /action must be one of Create, Update, Upsert, Delete"),
        (event(action: #""""#), "unknown_action: /action must be one of Create, Update, Upsert, Delete"),
        (event(action: #""Create\u0000""#), "unknown_action: /action must be one of Create, Update, Upsert, Delete"),
        (event(id: #""1""#), "wrong_type: /message_id must be an integer, not a string"),
        (event(id: "true"), "wrong_type: /message_id must be an integer, not a boolean"),
        (event(id: "null"), "wrong_type: /message_id must be an integer, not null"),
        (event(id: "1.0"), "wrong_type: /message_id must be an integer, not a number with a fraction or an exponent"),
        (event(id: "1e3"), "wrong_type: /message_id must be an integer, not a number with a fraction or an exponent"),
        (event(id: "[1]"), "wrong_type: /message_id must be an integer, not an array"),
        (event(id: "2147483648"), "out_of_range: /message_id is outside int4 (-2147483648 to 2147483647)"),
        (
            event(id: "1" + String(repeating: "0", count: 40)),
            "out_of_range: /message_id is outside int4 (-2147483648 to 2147483647)"
        ),
        (event(name: "5"), "wrong_type: /data/name must be a string, not an integer"),
        (event(name: "null"), "wrong_type: /data/name must be a string, not null"),
        (event(name: "{}"), "wrong_type: /data/name must be a string, not an object"),
        (
            event(name: #""a\u0000b""#),
            #"invalid_text: /data/name contains a NUL character (\u0000), which PostgreSQL cannot store"#
        ),
        (event(name: #""a\ud800b""#), "invalid_text: an unpaired surrogate at byte 51, in /data/name"),
        (event(name: #""\udc00\ud800""#), "invalid_text: an unpaired surrogate at byte 50, in /data/name"),
        (event(name: #""\ud800\u0041""#), "invalid_text: an unpaired surrogate at byte 50, in /data/name"),
        (event(more: #","x":"\udfff""#), "invalid_text: an unpaired surrogate at byte 73"),
        (event(more: #","action":"Create""#), "duplicate_field: /action appears twice"),
        (event(more: #","message_id":1"#), "duplicate_field: /message_id appears twice"),
        (event(more: #","data":{}"#), "duplicate_field: /data appears twice"),
        (event(name: #""n","name":"n""#), "duplicate_field: /data/name appears twice"),
        (event(name: #""n","n\u0061me":"n""#), "duplicate_field: /data/name appears twice"),
    ]

    @Test(arguments: cases)
    func `a bad record is a fault with a reason and a message`(json: String, expected: String) throws {
        #expect(try fault(Sample(json)) == expected)
        let checked = validate(decoder, Array(json.utf8))
        #expect(checked.fault.map { "\($0.reason): \($0.detail)" } == expected)
        #expect(checked.key.isEmpty)
    }

    @Test func `bytes that are not UTF-8 are a fault in any field`() throws {
        for bytes: [UInt8] in [[0x80], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xFF]] {
            let inName =
                Array(#"{"action":"Create","message_id":1,"data":{"name":""#.utf8) + bytes + Array(#"","message":"m"}}"#.utf8)
            #expect(try fault(Sample(bytes: inName)) == "invalid_text: bytes that are not UTF-8 at byte 50, in /data/name")
            let elsewhere = Array(Self.event(more: ",\"x\":\"").utf8.dropLast()) + bytes + Array("\"}".utf8)
            #expect(try fault(Sample(bytes: elsewhere)) == "invalid_text: bytes that are not UTF-8 at byte 73")
        }
    }

    @Test(arguments: [
        "", "x", "01", "+1", "1.0", "1 ", "-", "-0", "2147483648", "-2147483649", "[1]", "\"1\"", "99999999999999999999",
    ])
    func `a tombstone's key must name a row`(key: String) throws {
        #expect(try fault(Sample(nil, key: key)) == "bad_key: the record's key must be the message_id (int4) as text")
    }

    @Test func `a tombstone without a key names no row`() throws {
        #expect(
            try fault(Sample(nil))
                == "bad_key: a record without payload deletes the row that its key names, but this record has no key")
    }

    /// simdjson needs about 14 bytes for each byte of a document.
    @Test func `a document for which there is no memory is a dead letter`() throws {
        let decoder = Decoder(mapping: try compile(messagesText), limits: DecodeLimits(payloadBytes: 64 << 20, depth: 20))
        let large = Self.event(name: "\"" + String(repeating: "x", count: 48 << 20) + "\"")
        let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ").first.flatMap {
            UInt($0)
        }
        var former = rlimit()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &former) == 0)
        // Enough for the record batch and everything else, and not for the parser.
        var limit = former
        limit.rlim_cur = rlim_t(try #require(pages) * 4_096 + 300 << 20)
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
        let fault: Result<String, any Error> = Result { try decoder.fault(Sample(large), good: Self.good) }
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &former) == 0)
        #expect(try fault.get().hasPrefix("too_large: there was no memory to parse a payload of 503"))
        #expect(try decoder.row(Self.event(name: "\"n\"")).cells[0] == .int4(1), "the decoder goes on")
    }

    @Test func `size and depth are limited`() throws {
        let limits = DecodeLimits(payloadBytes: 200, depth: 20)
        let small = Decoder(mapping: try compile(messagesText), limits: limits)
        let long = Self.event(name: "\"" + String(repeating: "x", count: 200) + "\"")
        #expect(
            try small.fault(Sample(long), good: Self.good)
                == "too_large: the payload has \(long.utf8.count) bytes, more than the limit of 200")
        let deep = { (levels: Int) in
            Self.event(more: #","x":"# + String(repeating: "[", count: levels) + String(repeating: "]", count: levels))
        }
        #expect(try small.row(deep(18)).cells[0] == .int4(1))
        #expect(
            try small.fault(Sample(deep(30)), good: Self.good) == "too_deep: the payload is nested deeper than 20 levels")
        // Deep and malformed: the diagnosis is limited, too.
        #expect(
            try small.fault(Sample(String(repeating: "[", count: 150) + "\u{1}"), good: Self.good).hasPrefix("too_deep: "))
    }

    @Test func `every prefix of an event is a fault, whatever bytes follow it`() throws {
        let event = Array(
            #" {"action":"Create","x":[1.5e3,{"y":null}],"message_id":-12345,"data":{"name":"Zo\u00eb é","message":"m","t":true}}"#
                .utf8)
        for length in 0..<event.count {
            // In the batch's memory the prefix is followed by exactly the bytes it lacks.
            let changes = decoder.decode(
                batch([Sample(bytes: Array(event[..<length])), Sample(bytes: Array(event[length...])), Self.good]))
            #expect(changes.faults.first?.record == 0, "prefix of \(length)")
            let reason = changes.faults.first?.reason
            #expect(reason == "malformed_json" || reason == "invalid_text", "prefix of \(length): \(reason ?? "none")")
            #expect(changes.changes.last?.record == 2)
            #expect(validate(decoder, Array(event[..<length])).fault != nil)
        }
        #expect(decoder.decode(batch([Sample(bytes: event)])).faults.isEmpty)
    }

    @Test func `reasons are distinct`() {
        #expect(Set(DecodeReason.allCases.map(\.rawValue)).count == DecodeReason.allCases.count)
    }

    @Test func `date faults name the format`() throws {
        let decoder = Decoder(
            mapping: try mapping(
                columns:
                    "id: {path: /id, type: int4}\nd: {path: /d, type: date, optional: true}\nt: {path: /t, type: timestamptz, optional: true}"
            ))
        let good = Sample(#"{"a":"c","id":1}"#)
        let details = try [#""d":"x""#, #""d":5"#, #""d":"2001-02-29""#, #""t":"x""#, #""t":"2001-02-29T00:00:00Z""#].map {
            try decoder.fault(Sample(#"{"a":"c","id":1,\#($0)}"#), good: good)
        }
        #expect(
            details == [
                "wrong_type: /d must be a date as YYYY-MM-DD", "wrong_type: /d must be a string, not an integer",
                "out_of_range: /d is not a valid date",
                "wrong_type: /t must be an ISO 8601 timestamp with an offset, such as 2000-01-01T00:00:00Z",
                "out_of_range: /t is not a valid time",
            ])
    }
}
