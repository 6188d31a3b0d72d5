// Proves that hashed columns hold the HMAC of their values, and that keys of hashed rows still name them.

import Foundation
import Records
import Settings
import Testing

@testable import Decode

/// HMAC-SHA-256 with the key `0123456789abcdef`, as Python's `hmac` computes it.
private let digests = [
    "ada@example.com": "512383176ce1b4c279ee430548cf07ec0b58efa588517b611c1f0da6d2b9e577",
    "ädä": "4082f01f7cd0164afaddf82202c6676e1b0290050c00312cb24d7dbf9c170f1a",
    "7": "f69cf4852626eee19b92af564b9413e44aa526cc9e726ab9b8972af1d3b39092",
    "2026-03-01T10:00:00Z": "c88881fc96005c0da4090a18f78357c014ccb6591b07bbe9a7130adcbdd65e66",
    "DE AD": "ac435248fc899cc83e7114629c0a0f55e26456b0765d6403ed2de67c98b53177",
    "2024-02-29": "649828065c4611f7e59b91d8ca8f1c7ec94ad289988d06896d9bd038a8c3ef7d",
    "true": "d3af9eb57408b54bafc0bcbfe2fd11d315c8c29753e669ef720860cd8286bb1c",
]

private func digest(_ text: String) -> Cell { .text(digests[text] ?? "no digest of \(text)") }

/// Calls `body` with a folder that holds key files: `key`, `line` (the same and a line break), `short` and `empty`.
private func withKeys<Value>(_ body: (_ folder: String) throws -> Value) throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keys-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, text) in [
        ("key", "0123456789abcdef"), ("line", "0123456789abcdef\n"), ("short", "secret\n"), ("empty", "\n"),
        ("lines", "0123456789abcdef\n\n"),
    ] {
        try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }
    return try body(folder.path)
}

@Suite struct HashTests {
    /// The test cases of RFC 4231 with digests of full length.
    @Test(arguments: [
        (
            [UInt8](repeating: 0x0B, count: 20), Array("Hi There".utf8),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xAA, count: 20), [UInt8](repeating: 0xDD, count: 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        ),
        (
            [UInt8](1...25), [UInt8](repeating: 0xCD, count: 50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
        ),
        (
            [UInt8](repeating: 0xAA, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
        (
            [UInt8](repeating: 0xAA, count: 131),
            Array(
                ("This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed "
                    + "before being used by the HMAC algorithm.").utf8),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
        ),
    ])
    func vectorsOfRFC4231(key: [UInt8], data: [UInt8], expected: String) {
        let hashKey = HashKey(key)
        var rows = ChangeRows(columnCount: 1)
        // The state after the key is used again.
        for _ in 0..<2 {
            let start = rows.values.count
            let value = data.withUnsafeBytes { rows.values.appendSlice($0) }
            let digest = hashKey.hasher.replace(value, .bytea, from: start, in: &rows)
            #expect(rows.values.bytes(of: digest).map { String(decoding: $0, as: UTF8.self) } == expected)
            #expect(rows.values.count == start + 64)
        }
    }

    @Test(arguments: ["key", "line"]) func valuesOfEachKindAreHashedByTheirText(_ file: String) throws {
        try withKeys { folder in
            let hash = "hash: hmac-sha256, hash_key: \(folder)/\(file)"
            let mapping = try mapping(
                columns: """
                    id: {path: /id, type: int4}
                    email: {path: /email, type: text, nullable: true, optional: true, nul: strip, \(hash)}
                    n: {path: /n, type: int8, optional: true, \(hash)}
                    at: {path: /at, type: timestamptz, format: epoch_ms, optional: true, \(hash)}
                    bin: {path: /bin, type: bytea, optional: true, \(hash)}
                    on_day: {path: /day, type: date, optional: true, \(hash)}
                    flag: {path: /flag, type: bool, optional: true, \(hash)}
                    h: {metadata: headers.h, optional: true, \(hash)}
                    """)
            #expect(mapping.table.columns.map(\.type) == [.int4] + Array(repeating: .text, count: 7))
            let decoder = Decoder(mapping: mapping)
            let row = try decoder.row(
                #"{"a":"c","id":1,"email":"ada@example.com","n":7,"at":1772359200000,"bin":"3q0=","day":"2024-02-29","flag":true}"#
            )
            #expect(
                row.cells == [
                    .int4(1), digest("ada@example.com"), digest("7"), digest("2026-03-01T10:00:00Z"), digest("DE AD"),
                    digest("2024-02-29"), digest("true"), .absent,
                ])
            let line = decoder.trial(of: batch([Sample(#"{"a":"c","id":1,"n":7,"bin":"3q0=","flag":true}"#)])).line
            #expect(
                line == "create id = 1 | n = \(digests["7"]!), bin = \(digests["DE AD"]!), flag = \(digests["true"]!)", "\(line)")
            #expect(try decoder.row(#"{"a":"c","id":1,"email":null}"#).cells[1...2] == [.null, .absent])
            #expect(try decoder.row(#"{"a":"c","id":1,"email":"\u00e4d\u0000\u00e4"}"#).cells[1] == digest("ädä"))
            var sample = Sample(#"{"a":"c","id":1}"#)
            sample.headers = [("h", Array("ada@example.com".utf8))]
            #expect(decoder.decode(batch([sample])).row(0).cells[7] == digest("ada@example.com"))
            let fault = try decoder.fault(Sample(#"{"a":"c","id":1,"n":"7"}"#), good: Sample(#"{"a":"c","id":1}"#))
            #expect(fault == "wrong_type: /n must be an integer, not a string")
            #expect(
                validate(decoder, Array(#"{"a":"c","id":1,"n":"7"}"#.utf8)).fault?.detail == "/n must be an integer, not a string"
            )
            #expect(validate(decoder, Array(#"{"a":"c","id":1,"n":7}"#.utf8)).fault == nil)
        }
    }

    @Test func aHashedKeyIsNamedByThePlainOne() throws {
        try withKeys { folder in
            let columns = """
                id: {path: /id, type: int8, hash: hmac-sha256, hash_key: \(folder)/key}
                v: {path: /v, type: int4, optional: true}
                """
            let text = try Decoder(mapping: mapping(columns: columns, more: "kafka_key_mismatch: fault"))
            #expect(validate(text, Array(#"{"a":"u","id":7}"#.utf8)).key == Array("7".utf8))
            let outcomes = text.outcomes([
                Sample(#"{"a":"s","id":7}"#, key: "7"), Sample(#"{"a":"s","id":7}"#, key: "8"), Sample(nil, key: "7"),
            ])
            #expect(
                outcomes == [
                    .row(Row(operation: .upsert, cells: [digest("7"), .absent])), .fault("key_mismatch"),
                    .row(Row(operation: .delete, cells: [digest("7"), .absent])),
                ])
            let changes = text.decode(batch([Sample(#"{"a":"s","id":7}"#), Sample(nil, key: "7")]))
            #expect(changes.changes[0].keyPrefix == changes.changes[1].keyPrefix)
            let object = try Decoder(
                mapping: mapping(columns: columns, more: "kafka_key: json_object\nkafka_key_mismatch: fault"))
            #expect(validate(object, Array(#"{"a":"u","id":7}"#.utf8)).key == Array(#"{"id":7}"#.utf8))
            #expect(
                object.outcomes([
                    Sample(#"{"a":"s","id":7}"#, key: #"{"id":7}"#), Sample(#"{"a":"s","id":7}"#, key: #"{ "id": 7 }"#),
                    Sample(#"{"a":"s","id":7}"#, key: #"{ "id": 8 }"#),
                ]).map { if case .row(let row) = $0 { row.cells[0] } else { .absent } } == [digest("7"), digest("7"), .absent])
        }
    }

    @Test(arguments: [
        ("hash: hmac-sha256", "column v: hash needs hash_key, the file with the key"),
        ("hash_key: key", "column v: hash_key belongs to hash"),
        ("hash: sha256, hash_key: key", "column v: hash 'sha256' is not one of hmac-sha256"),
        ("hash: hmac-sha256, hash_key: FOLDER/none", "column v: the key file 'FOLDER/none' cannot be opened"),
        ("hash: hmac-sha256, hash_key: FOLDER/short", "column v: the key file 'FOLDER/short' has fewer than 16 bytes"),
        ("hash: hmac-sha256, hash_key: FOLDER/empty", "column v: the key file 'FOLDER/empty' holds nothing"),
        ("type: numeric, hash: hmac-sha256, hash_key: FOLDER/key", "column v: type numeric cannot be hashed"),
        ("type: 'text[]', hash: hmac-sha256, hash_key: FOLDER/key", "column v: type text[] cannot be hashed"),
        ("cast: citext, hash: hmac-sha256, hash_key: FOLDER/key", "column v: hash makes a text, which cannot be cast"),
        (
            "SOURCE: constant, hash: hmac-sha256, hash_key: FOLDER/key",
            "column v: hash is for a field, the record's key and headers"
        ),
        (
            "SOURCE: metadata, hash: hmac-sha256, hash_key: FOLDER/key",
            "column v: hash is for a field, the record's key and headers"
        ),
    ])
    func faultsNameTheFileAndNeverTheKey(keys: String, says: String) throws {
        try withKeys { folder in
            var keys = keys.replacingOccurrences(of: "FOLDER", with: folder)
            var source = "path: /v"
            for (name, other) in [("constant", "constant: x"), ("metadata", "metadata: topic")]
            where keys.contains("SOURCE: \(name)") {
                source = other
                keys = String(keys.dropFirst("SOURCE: \(name), ".count))
            }
            let type = keys.contains("type:") || keys.contains("cast:") ? "" : "type: text, "
            let found = faults(
                """
                topics: [t]
                table: t
                key: [id]
                envelope: upsert
                columns:
                  id: {path: /id, type: int8}
                  v: {\(source), \(type)\(keys)}
                """)
            #expect(found.count == 1, "\(found)")
            #expect(found.first?.hasPrefix("7: " + says.replacingOccurrences(of: "FOLDER", with: folder)) == true, "\(found)")
            #expect(!found.joined().contains("secret") && !found.joined().contains("0123456789"))
        }
    }

    @Test func oneLineBreakIsCutAndPathsBeginAtTheMapping() throws {
        try withKeys { folder in
            let text = """
                topics: [t]
                table: t
                key: [id]
                envelope: upsert
                columns:
                  id: {path: /id, type: int8}
                  v: {path: /v, type: text, hash: hmac-sha256, hash_key: lines}
                """
            let node = try YAML.parse(text: text, file: "\(folder)/mapping.yaml")
            #expect(Mapping.hashKeyFiles(of: node) == ["\(folder)/lines"])
            let mapping = try #require(try Mapping.compile([node]).first)
            // The key with a line break.
            let expected = "e49dd50f98d832369ce77371866240371460fdef4ff753b09f9308bb19e7dc1d"
            #expect(try Decoder(mapping: mapping).row(#"{"id":1,"v":"7"}"#).cells[1] == .text(expected))
        }
    }
}
