// Proves that the Kafka key the ingress makes for an event names the same row when it is the key of a tombstone.

import Decode
import Foundation
import Records
import Testing

@Suite struct KafkaKeyTests {
    /// Checks an event, then decodes a tombstone with the resulting key: the key's cells must be equal.
    private func roundTrip(_ mapping: Mapping, _ json: String) throws -> String {
        let decoder = Decoder(mapping: mapping)
        let (fault, key) = validate(decoder, Array(json.utf8))
        #expect(fault == nil, "\(json)")
        var tombstone = Sample(nil)
        tombstone.key = key
        let changes = decoder.decode(batch([Sample(json), tombstone]))
        #expect(changes.faults.isEmpty, "\(changes.faults)")
        _ = try #require(changes.changes.count == 2 ? changes.changes : nil)
        #expect(changes.changes[0].keyPrefix == changes.changes[1].keyPrefix)
        for column in 0..<changes.columnCount {
            let cell = changes.row(1).cells[column]
            #expect(cell == (mapping.table.key.contains(column) ? changes.row(0).cells[column] : .absent))
        }
        return String(decoding: key, as: UTF8.self)
    }

    @Test(arguments: ["0", "7", "-1", "10", "2147483647", "-2147483648"])
    func `an integer's key is its decimal`(number: String) throws {
        let json = #"{"action":"Delete","message_id":\#(number)}"#
        #expect(try roundTrip(try compile(messagesText), json) == number)
    }

    @Test func `minus zero is zero`() throws {
        #expect(try roundTrip(try compile(messagesText), #"{"action":"Delete","message_id":-0}"#) == "0")
    }

    @Test(arguments: [("int2", "-32768"), ("int8", "-9223372036854775808"), ("int8", "9223372036854775807")])
    func `other integers`(type: String, number: String) throws {
        let mapping = try mapping(columns: "id: {path: /id, type: \(type)}")
        #expect(try roundTrip(mapping, #"{"a":"d","id":\#(number)}"#) == number)
    }

    @Test(arguments: ["", "x", "a \"quoted\" é", "exactly8", "longer than eight"])
    func `a text is its own key`(text: String) throws {
        let escaped = text.replacingOccurrences(of: "\"", with: "\\\"")
        let mapping = try mapping(columns: "v: {path: /v, type: text, optional: true}\nid: {path: /id, type: text}")
        #expect(try roundTrip(mapping, #"{"a":"d","id":"\#(escaped)"}"#) == text)
    }

    @Test func `a date is its own key`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: date}")
        #expect(try roundTrip(mapping, #"{"a":"s","id":"2024-02-29"}"#) == "2024-02-29")
    }

    @Test func `several columns are a JSON array in key order`() throws {
        let mapping = try mapping(
            columns: """
                day: {path: /k/day, type: date}
                v: {path: /v, type: text, optional: true}
                id: {path: /id, type: int8}
                name: {path: /k/name, type: text}
                """, key: "[name, id, day]", more: "kafka_key: json")
        #expect(mapping.table.key == [3, 2, 0])
        let json = #"{"a":"s","id":-5,"v":"x","k":{"day":"1999-12-31","name":"a\"\\\/\b\f\n\r\t\u0001\u007f\u00e9"}}"#
        #expect(try roundTrip(mapping, json) == #"["a\"\\/\b\f\n\r\t\u0001\#u{7f}é",-5,"1999-12-31"]"#)

        let decoder = Decoder(mapping: mapping)
        let good = Sample(nil, key: #" [ "n" , 1 , "2000-01-01" ] "#)
        for key in [
            "", "[]", "[", #"["n",1]"#, #"["n",1,"2000-01-01",2]"#, #"["n","1","2000-01-01"]"#, #"["n",1,"2000-01-32"]"#,
            #"{"name":"n"}"#, #"["n\u0000",1,"2000-01-01"]"#, #"[null,1,"2000-01-01"]"#, #"["n",1e400,"2000-01-01"]"#, "\"n\"",
        ] {
            let fault = try decoder.fault(Sample(nil, key: key), good: good)
            #expect(fault == "bad_key: the record's key must be a JSON array of name (text), id (int8), day (date)")
        }
    }

    @Test func `a text key must be a text`() throws {
        let decoder = Decoder(mapping: try mapping(columns: "id: {path: /id, type: text}"))
        for key: [UInt8] in [[0xFF], [0x61, 0, 0x62]] {
            var sample = Sample(nil)
            sample.key = key
            #expect(
                try decoder.fault(sample, good: Sample(nil, key: "x"))
                    == "bad_key: the record's key must be the id (text) as text")
        }
    }
}
