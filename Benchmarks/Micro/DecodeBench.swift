// Measures decoding and the ingress's check against Foundation's JSONDecoder on the same events.

import Decode
import Foundation
import Records

/// A batch of events, and the ways to read them.
struct DecodeBench {
    static let events = 5_000
    let batch: RecordBatch
    let mapping: Mapping

    init() throws {
        mapping = try Mapping.messages()
        batch = RecordBatch(source: TopicPartition("messages", 0), generation: 1, records: Self.events, bytes: Self.events * 256)
        var stream = EventStream(count: Self.events)
        var offset: Int64 = 0
        while stream.withNext({ key, value in
            batch.append(offset: offset, timestamp: 1_700_000_000_000, key: key, value: value)
            offset += 1
        }) {}
    }

    /// Events a second, batch by batch.
    func decode() throws -> Double {
        let decoder = Decoder(mapping: mapping)
        guard decoder.decode(batch).changes.count == Self.events else {
            throw BenchError("the decoder refused some of the benchmark's own events")
        }
        return 1e9
            / Measuring.nanoseconds {
                consume(decoder.decode(batch))
                return Self.events
            }
    }

    /// Events a second, one by one, as the ingress checks them.
    func validate() -> Double {
        let decoder = Decoder(mapping: mapping)
        var key = ByteBuffer(capacity: 64)
        return 1e9
            / Measuring.nanoseconds {
                for record in batch.records {
                    key.removeAll()
                    guard let payload = batch.bytes(of: record.value) else { continue }
                    consume(decoder.validate(payload, key: &key))
                }
                return Self.events
            }
    }

    /// Events a second by the usual way.
    func foundation() throws -> Double {
        struct Event: Decodable {
            struct Content: Decodable {
                let name: String
                let message: String
            }
            let action: String
            let message_id: Int32
            let data: Content
        }
        let payloads = batch.records.prefix(1_000).compactMap { batch.bytes(of: $0.value) }.map { Data($0) }
        let decoder = JSONDecoder()
        return 1e9
            / (try Measuring.nanoseconds {
                for payload in payloads { consume(try decoder.decode(Event.self, from: payload)) }
                return payloads.count
            })
    }
}
