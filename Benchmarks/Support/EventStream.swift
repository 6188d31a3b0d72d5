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
    private var value = ByteBuffer(capacity: 256)

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
        Self.append(#"{"action":"Upsert","message_id":"#, to: &value)
        value.append(key.bytes)
        Self.append(#","data":{"#, to: &value)
        switch data {
        case .message:
            Self.append(#""name":"user-"#, to: &value)
            value.append(key.bytes)
            Self.append(#"","message":""#, to: &value)
            appendLetters(Self.messageBytes)
            Self.append("\"", to: &value)
        case .allFields: appendFields(1 << UInt32(Self.fields) - 1)
        case .halfOfFields: appendFields(random())
        }
        Self.append("}}", to: &value)
        try body(key.bytes, value.bytes)
        return true
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
