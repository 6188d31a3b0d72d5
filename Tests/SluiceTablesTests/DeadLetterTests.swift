// Dead letters: the reasons they are counted under, and how their headers are encoded.

import Records
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
        #expect(DeadLetterWriter.json(buffer.bytes) == expected)
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            #expect(Array(plain.utf8).withUnsafeBytes { DeadLetterWriter.base64($0) } == coded)
        }
    }
}
