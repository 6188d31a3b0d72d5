// Owns the SQL of `sluice_dead_letters`.

internal import Platform
public import Postgres
public import Records

/// A record that could not be applied.
public struct DeadLetter: Sendable {
    /// The record's batch.
    public let batch: ChangeBatch
    /// Its position in the batch's records.
    public let record: Int
    /// One of ``DeadLetterReason``.
    public let reason: String
    /// The SQLSTATE; `nil` for a decoder's fault.
    public let state: String?
    /// The decoder's or the server's message.
    public let detail: String

    /// A record that could not be applied.
    public init(batch: ChangeBatch, record: Int, reason: String, state: String? = nil, detail: String) {
        self.batch = batch
        self.record = record
        self.reason = reason
        self.state = state
        self.detail = detail
    }
}

/// Encodes dead letters for the transaction that moves their offsets.
public struct DeadLetterWriter {
    private static let statement = PreparedStatement(
        """
        INSERT INTO sluice_dead_letters AS d (consumer_group, topic, partition, "offset", key, payload, headers, record_timestamp,
          reason, sqlstate, detail, fingerprint, mapping, table_name)
        SELECT $1::text, u.topic, u.partition, u.position, u.key, u.payload, u.headers::jsonb, u.stamp, u.reason,
          u.state, u.detail, u.fingerprint, $13::text, nullif($14::text, '')
        FROM unnest($2::text[], $3::int4[], $4::int8[], $5::bytea[], $6::bytea[], $7::text[], $8::timestamptz[], $9::text[],
          $10::text[], $11::text[], $12::int8[])
          AS u(topic, partition, position, key, payload, headers, stamp, reason, state, detail, fingerprint)
        ON CONFLICT (consumer_group, topic, partition, "offset", fingerprint) DO UPDATE
        SET attempts = d.attempts + 1, reason = excluded.reason, sqlstate = excluded.sqlstate, detail = excluded.detail,
          mapping = excluded.mapping, table_name = excluded.table_name, failed_at = now(), state = 'new'
        """)

    private let group: String
    private let mapping: String
    private let table: String
    private let isUnicode: Bool
    private let pool: ArrayPool

    /// A writer for a consumer group.
    /// - Parameters:
    ///   - mapping: the mapping's name.
    ///   - table: the table that the records were for; empty: it is not known.
    ///   - isUnicode: the database takes every character. Otherwise those that are not ASCII are written as `\u{540D}`: one that it does not
    ///     take would refuse the dead letter, and with it the transaction, however often it is repeated.
    public init(group: String, mapping: String, table: String, isUnicode: Bool, pool: ArrayPool) {
        self.group = group
        self.mapping = mapping
        self.table = table
        self.isUnicode = isUnicode
        self.pool = pool
    }

    /// The INSERT of these dead letters, each of another record; `nil` for none. A record that has a dead letter already is counted in its
    /// `attempts`, and the latest reason stands. Another record of the same offset (the topic was made anew) gets a row of its own.
    public func encode(_ deadLetters: [DeadLetter]) -> EncodedStatement? {
        if deadLetters.isEmpty { return nil }
        var writer = ParameterWriter(pool)
        func column(_ element: UInt32, _ append: (inout BinaryArray, DeadLetter, Record) -> Void) {
            writer.array(element) { array in
                for dead in deadLetters { append(&array, dead, dead.batch.records.records[dead.record]) }
            }
        }
        writer.text(group)
        column(TypeOID.text) { array, dead, _ in array.append(dead.batch.records.source.topic) }
        column(TypeOID.int4) { array, dead, _ in array.append(dead.batch.records.source.partition) }
        column(TypeOID.int8) { array, _, record in array.append(record.offset) }
        column(TypeOID.bytea) { array, dead, record in array.append(dead.batch.records.bytes(of: record.key)) }
        column(TypeOID.bytea) { array, dead, record in array.append(dead.batch.records.bytes(of: record.value)) }
        column(TypeOID.text) { array, dead, record in
            if let headers = dead.batch.records.bytes(of: record.headers) {
                array.append(json(headers))
            } else {
                array.append(nil)
            }
        }
        column(TypeOID.timestamptz) { array, _, record in
            if let stamp = record.timestamptz { array.append(stamp) } else { array.append(nil) }
        }
        column(TypeOID.text) { array, dead, _ in array.append(dead.reason) }
        column(TypeOID.text) { array, dead, _ in
            if let state = dead.state { array.append(state) } else { array.append(nil) }
        }
        column(TypeOID.text) { array, dead, _ in array.append(storable(dead.detail.filter { $0 != "\0" })) }
        column(TypeOID.int8) { array, dead, record in array.append(dead.batch.records.fingerprint(of: record)) }
        writer.text(storable(mapping))
        writer.text(table)
        return writer.finish(Self.statement)
    }

    /// `[{"name": …, "value": base64 or null}, …]`, in the record's order. Bytes of a name that are no text become U+FFFD.
    func json(_ headers: UnsafeRawBufferPointer) -> String {
        var text = "["
        RecordHeaders.forEach(in: headers) { name, value in
            if text.utf8.count > 1 { text += "," }
            text += "{\"name\":" + Self.quoted(storable(String(decoding: name, as: UTF8.self))) + ",\"value\":"
            text += value.map { "\"" + Self.base64($0) + "\"" } ?? "null"
            text += "}"
        }
        return text + "]"
    }

    /// A text that the database takes.
    private func storable(_ text: String) -> String {
        isUnicode ? text : text.unicodeScalars.map { $0.isASCII ? String($0) : $0.escaped(asASCII: true) }.joined()
    }

    /// A JSON string. jsonb has no U+0000.
    private static func quoted(_ text: String) -> String {
        JSONText.quoted(String(String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 })))
    }

    /// RFC 4648, section 4.
    static func base64(_ bytes: UnsafeRawBufferPointer) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let count = min(3, bytes.count - start)
            var group: UInt32 = 0
            for index in 0..<3 { group = group << 8 | (index < count ? UInt32(bytes[start + index]) : 0) }
            for index in 0..<4 { out.append(index <= count ? digits[Int(group >> UInt32(18 - 6 * index)) & 63] : 0x3D) }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
