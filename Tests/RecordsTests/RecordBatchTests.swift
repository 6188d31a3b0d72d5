// Proves that batches and buffers return what was appended, and that key prefixes sort like their keys.

import Records
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct RecordBatchTests {
    @Test func distinguishesNullEmptyAndNonEmptyParts() {
        let batch = RecordBatch(source: TopicPartition("t", 3), generation: 7, records: 3, bytes: 16)
        bytes("key").withUnsafeBytes { key in
            bytes("value").withUnsafeBytes { value in
                batch.append(offset: 10, timestamp: 5, key: key, value: value)
                batch.append(offset: 12, timestamp: 3, key: nil, value: nil)
                batch.append(offset: 13, timestamp: -1, key: key, value: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
        #expect(batch.count == 3)
        #expect(batch.nextOffset == 14)
        #expect(batch.earliestTimestamp == 3)
        #expect(batch.byteCount == 11)
        #expect(batch.bytes(of: batch.records[0].value).map { Array($0) } == bytes("value"))
        #expect(batch.bytes(of: batch.records[1].value) == nil)
        #expect(batch.bytes(of: batch.records[1].key) == nil)
        #expect(batch.bytes(of: batch.records[2].value)?.isEmpty == true)
        #expect(batch.records[1].value.isNull)
    }

    @Test func timestampsThatPostgreSQLCannotHoldAreLeftOut() {
        func stamp(_ milliseconds: Int64) -> Int64? {
            Record(offset: 0, timestamp: milliseconds, key: .null, value: .null, headers: .null).timestamptz
        }
        #expect(stamp(946_684_800_000) == 0)
        #expect(stamp(0) == -946_684_800_000_000)
        #expect(stamp(-1) == nil)
        #expect(stamp(.max) == nil)
        #expect(stamp(9_224_318_015_999_999) == 9_223_371_331_199_999_000)
        #expect(stamp(9_224_318_016_000_000) == nil)
    }

    @Test func headersKeepTheirOrder() {
        var buffer = ByteBuffer()
        let pairs: [(String, String?)] = [("a", "1"), ("a", nil), ("", ""), ("trace", "x y")]
        for (name, value) in pairs {
            bytes(name).withUnsafeBytes { name in
                if let value {
                    bytes(value).withUnsafeBytes { RecordHeaders.append(name: name, value: $0, to: &buffer) }
                } else {
                    RecordHeaders.append(name: name, value: nil, to: &buffer)
                }
            }
        }
        var read: [(String, String?)] = []
        RecordHeaders.forEach(in: buffer.bytes) { name, value in
            read.append((String(decoding: name, as: UTF8.self), value.map { String(decoding: $0, as: UTF8.self) }))
        }
        #expect(read.elementsEqual(pairs) { $0 == $1 })
    }

    @Test func aGrowingBufferKeepsItsBytes() {
        var buffer = ByteBuffer(capacity: 1)
        for value in 0..<10_000 { buffer.append(bigEndian: Int32(value)) }
        #expect(buffer.count == 40_000)
        for value in stride(from: 0, to: 10_000, by: 997) {
            #expect(buffer.load(bigEndian: Int32.self, at: value * 4) == Int32(value))
        }
        buffer.shrink(to: 100)
        #expect(buffer.count == 0)
        #expect(buffer.capacity == 100)
    }

    @Test func keyPrefixesSortLikeTheirKeys() {
        let numbers: [Int64] = [.min, -70_000, -1, 0, 1, 255, 256, 70_000, .max]
        #expect(numbers.map { KeyPrefix.of($0) } == numbers.map { KeyPrefix.of($0) }.sorted())
        let texts = ["", "a", "ab", "abcdefgh", "abd", "b", "é"]
        let prefixes = texts.map { text in bytes(text).withUnsafeBytes { KeyPrefix.of($0) } }
        #expect(prefixes == prefixes.sorted())
    }
}
