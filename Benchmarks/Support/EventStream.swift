// The benchmark's events: unique keys, in scattered or ascending order, with messages of 100 letters or with ten optional fields.

import Records

/// A sequence of upserts, each key once. Any number of events costs the same memory.
struct EventStream: ~Copyable {
    /// What `data` holds.
    enum Data: Sendable {
        /// A name and a message.
        case message
        /// All of the fields `f0` to `f9`.
        case allFields
        /// Each of these fields at random, half of them on average.
        case halfOfFields
        /// A name and a message in a change event of Debezium, without schema.
        case debezium
        /// Ten columns of different types.
        case mixedTypes
        /// A name, a message and a version.
        case versioned
    }

    /// Letters of a message.
    static let messageBytes = 100
    /// The number of optional fields, and the letters of one.
    static let fields = 10
    static let fieldBytes = 10

    let count: Int
    private let factor: UInt64
    private let seed: UInt64
    private let data: Data
    private var letters: UInt32
    private var next = 0
    private var key = ByteBuffer(capacity: 32)
    private var value = ByteBuffer(capacity: 1024)
    /// Where it is not the key's text.
    private var recordKey = ByteBuffer(capacity: 64)

    /// - Parameter isScattered: false: ascending keys, whose rows cost the same whether the table is small or large.
    init(count: Int, isScattered: Bool = true, seed: UInt64 = 1, data: Data = .message) {
        self.count = count
        self.data = data
        self.seed = seed
        letters = UInt32(truncatingIfNeeded: seed &* 7919 &+ 1)
        // Multiplying by a number without a common divisor visits every key once; one near 2^32 divided by the golden ratio scatters
        // neighbours (Knuth, The Art of Computer Programming 3, 6.4).
        var factor: UInt64 = isScattered ? 2_654_435_761 : 1
        while Self.divisor(factor, UInt64(count)) != 1 { factor += 1 }
        self.factor = factor
    }

    private static func divisor(_ a: UInt64, _ b: UInt64) -> UInt64 { b == 0 ? a : divisor(b, a % b) }

    /// The key of event `index`.
    func id(_ index: Int) -> Int32 { Int32((UInt64(index) &* factor &+ seed) % UInt64(count)) }

    /// Calls `body` with the next event's key and payload; false at the end.
    mutating func withNext(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Void) rethrows -> Bool {
        guard next < count else { return false }
        let id = id(next)
        next += 1
        key.removeAll()
        Self.append(decimal: id, to: &key)
        value.removeAll()
        if data == .debezium {
            appendChangeEvent()
            try body(recordKey.bytes, value.bytes)
            return true
        }
        Self.append(#"{"action":"Upsert","message_id":"#, to: &value)
        value.append(key.bytes)
        Self.append(#","data":{"#, to: &value)
        switch data {
        case .message: appendMessage()
        case .versioned:
            appendMessage()
            Self.append(#","version":"#, to: &value)
            Self.append(decimal: Int32(next), to: &value)
        case .mixedTypes: appendMixedTypes()
        case .debezium: break
        case .allFields: appendFields(1 << UInt32(Self.fields) - 1)
        case .halfOfFields: appendFields(random())
        }
        Self.append("}}", to: &value)
        try body(key.bytes, value.bytes)
        return true
    }

    private mutating func appendMessage() {
        Self.append(#""name":"user-"#, to: &value)
        value.append(key.bytes)
        Self.append(#"","message":""#, to: &value)
        appendLetters(Self.messageBytes)
        Self.append("\"", to: &value)
    }

    /// As Debezium's connector for PostgreSQL sends the insert of a row, and the record's key.
    private mutating func appendChangeEvent() {
        recordKey.removeAll()
        Self.append(#"{"message_id":"#, to: &recordKey)
        recordKey.append(key.bytes)
        Self.append("}", to: &recordKey)
        Self.append(#"{"before":null,"after":{"message_id":"#, to: &value)
        value.append(key.bytes)
        Self.append(",", to: &value)
        appendMessage()
        Self.append(
            #"},"source":{"version":"2.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1718000000123,"snapshot":"false","#,
            to: &value)
        Self.append(
            #""db":"shop","sequence":"[\"24023119\",\"24023128\"]","schema":"public","table":"messages","txId":555,"lsn":"#,
            to: &value)
        value.append(key.bytes)
        Self.append(#","xmin":null},"op":"c","ts_ms":1718000000456,"transaction":null}"#, to: &value)
    }

    /// As ``DrainShape/mixed`` reads them.
    private mutating func appendMixedTypes() {
        Self.append(#""total":90000000"#, to: &value)
        value.append(key.bytes)
        Self.append(
            #","price":12345.67,"ratio":0.12345,"paid":true,"created":"2024-06-10T12:34:56.789Z","day":"2024-06-10","#, to: &value
        )
        Self.append(#""ref":"123e4567-e89b-12d3-a456-426614174000","note":""#, to: &value)
        appendLetters(40)
        Self.append(#"","tags":{"a":1,"b":["x","y"],"id":"#, to: &value)
        value.append(key.bytes)
        Self.append("}", to: &value)
    }

    /// Appends those fields whose bit is set.
    private mutating func appendFields(_ present: UInt32) {
        var isFirst = true
        for field in 0..<Self.fields where present >> UInt32(field) & 1 == 1 {
            Self.append(isFirst ? #""f"# : #","f"#, to: &value)
            isFirst = false
            value.append(bigEndian: UInt8(ascii: "0") + UInt8(field))
            Self.append(#"":""#, to: &value)
            appendLetters(Self.fieldBytes)
            Self.append("\"", to: &value)
        }
    }

    private mutating func appendLetters(_ count: Int) {
        for _ in 0..<count { value.append(bigEndian: UInt8(ascii: "a") + UInt8(random() % 26)) }
    }

    /// 16 bits. Numerical Recipes' linear congruential generator; its high bits are the good ones.
    private mutating func random() -> UInt32 {
        letters = letters &* 1_664_525 &+ 1_013_904_223
        return letters >> 16
    }

    private static func append(_ text: StaticString, to buffer: inout ByteBuffer) {
        buffer.append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private static func append(decimal value: Int32, to buffer: inout ByteBuffer) {
        withUnsafeTemporaryAllocation(byteCount: 12, alignment: 1) { digits in
            var at = 12
            var rest = value
            repeat {
                at -= 1
                digits[at] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            buffer.append(UnsafeRawBufferPointer(rebasing: digits[at...]))
        }
    }
}
