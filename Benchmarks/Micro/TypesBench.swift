// Measures decoding of ten columns of different types, most of which read their text in the document.

import Decode
import Records
import Settings

enum TypesBench {
    private static let events = 5_000
    private static let mapping = """
        topics: [events]
        table: events
        key: [id]
        action: {path: /action, upsert: [Upsert]}
        columns:
          id: {path: /id, type: uuid}
          at: {path: /at, type: timestamptz}
          seen: {path: /seen, type: timestamptz, format: epoch_ms}
          day: {path: /day, type: date}
          amount: {path: /amount, type: numeric}
          ratio: {path: /ratio, type: float8}
          isOpen: {path: /open, type: bool}
          count: {path: /count, type: int8}
          document: {path: /document, type: jsonb}
          tags: {path: /tags, type: 'text[]'}
        """

    /// Events a second, batch by batch.
    static func decode() throws -> Double {
        guard let mapping = try Mapping.compile([YAML.parse(text: mapping, file: "types.yaml")]).first else {
            throw BenchError("the benchmark's mapping is not compiled")
        }
        let batch = RecordBatch(source: TopicPartition("events", 0), generation: 1, records: events, bytes: events * 512)
        for offset in 0..<events {
            let number = 100_000_000_000 + offset
            let event = """
                {"action":"Upsert","id":"01234567-89ab-cdef-0123-\(number)","at":"2024-02-29T12:34:56.789Z","seen":17092100\(number % 100_000),\
                "day":"2024-02-29","amount":\(number).50,"ratio":0.\(number),"open":true,"count":\(number),\
                "document":{"name":"a","values":[1,2.5,{"deep":null}]},"tags":["one","two","three"]}
                """
            Array(event.utf8).withUnsafeBytes { batch.append(offset: Int64(offset), timestamp: 0, key: nil, value: $0) }
        }
        let decoder = Decoder(mapping: mapping)
        guard decoder.decode(batch).changes.count == events else {
            throw BenchError("the decoder refused some of the benchmark's own events")
        }
        return 1e9
            / Measuring.nanoseconds {
                consume(decoder.decode(batch))
                return events
            }
    }
}
