// Writes events as JSON, and the texts they leave in the table, into reused memory.

import Glibc
import Platform
import Records

/// Writes one event at a time; the result is valid until the next call.
struct EventWriter: ~Copyable {
    private let plan: EventPlan
    private let memory: UnsafeMutablePointer<UInt8>
    private let keyMemory: UnsafeMutablePointer<UInt8>
    private var at: UnsafeMutablePointer<UInt8>

    /// A writer for the events of `plan`.
    init(_ plan: EventPlan) {
        self.plan = plan
        // 256 bytes hold an event without its message; escaping adds at most 64 bytes.
        memory = .allocate(capacity: plan.payloadBytes + 320)
        keyMemory = .allocate(capacity: 16)
        at = memory
    }

    deinit {
        memory.deallocate()
        keyMemory.deallocate()
    }

    /// The event as JSON of the default mapping, with its flaw.
    @inline(__always)
    mutating func json(_ event: PlannedEvent) -> UnsafeRawBufferPointer {
        at = memory
        put("{\"action\":\"")
        // The data of a Delete is not read, so it could not be bad: bad events are Creates.
        let operation = event.flaw == nil ? event.operation : .create
        if event.flaw == .unknownAction { put("Replace") } else { put(operation) }
        put("\",\"message_id\":")
        switch event.flaw {
        case .wrongType:
            put("\"")
            put(UInt64(plan.id(event.slot)))
            put("\"")
        case .outOfRange: put(1 << 31 + UInt64(event.slot))
        default: put(UInt64(plan.id(event.slot)))
        }
        if operation != .delete { putData(event) }
        if event.flaw == .brokenElsewhere { put(",\"trace\":[1,,tru]") }
        if event.flaw != .truncated { put("}") }
        return UnsafeRawBufferPointer(start: memory, count: at - memory)
    }

    /// The record key: the id in decimal.
    @inline(__always)
    mutating func key(_ event: PlannedEvent) -> UnsafeRawBufferPointer {
        at = keyMemory
        put(UInt64(plan.id(event.slot)))
        return UnsafeRawBufferPointer(start: keyMemory, count: at - keyMemory)
    }

    /// The name that the row of `slot` has after event number `index`.
    mutating func name(slot: Int32, index: UInt64) -> UnsafeRawBufferPointer {
        at = memory
        putName(slot: slot, index: index)
        return UnsafeRawBufferPointer(start: memory, count: at - memory)
    }

    /// The message that a row has after event number `index`.
    mutating func message(index: UInt64) -> UnsafeRawBufferPointer {
        at = memory
        putMessage(index, escaped: false)
        return UnsafeRawBufferPointer(start: memory, count: at - memory)
    }

    @inline(__always)
    private mutating func putData(_ event: PlannedEvent) {
        put(",\"data\":{")
        if event.flaw != .missingField {
            put("\"name\":\"")
            putName(slot: event.slot, index: event.index)
            if event.flaw == .nulCharacter { put("\\u0000") }
            put("\",")
        }
        put("\"message\":\"")
        putMessage(event.index, escaped: true)
        put("\"}")
    }

    @inline(__always)
    private mutating func putName(slot: Int32, index: UInt64) {
        put("user-")
        put(UInt64(plan.id(slot)))
        put("-")
        put(index)
    }

    /// Letters from a to p, eight a step. Every sixteenth message begins with characters that JSON escapes or that take two to
    /// four bytes, so that a run also proves that texts arrive unchanged.
    @inline(__always)
    private mutating func putMessage(_ index: UInt64, escaped: Bool) {
        let seed = plan.textSeed(index)
        var left = plan.payloadBytes
        if seed & 15 == 0, left >= Self.special.utf8CodeUnitCount {
            left -= Self.special.utf8CodeUnitCount
            put(escaped ? Self.specialEscaped : Self.special)
        }
        var random = SplitMix64(seed: seed)
        while left > 0 {
            let letters = (random.next() & 0x0F0F_0F0F_0F0F_0F0F) &+ 0x6161_6161_6161_6161
            UnsafeMutableRawPointer(at).storeBytes(of: letters, as: UInt64.self)
            at += min(left, 8)
            left -= 8
        }
    }

    private static let special: StaticString = "\"\\\u{E9}\u{1F600}\n/\u{20AC}"
    private static let specialEscaped: StaticString = "\\\"\\\\\\u00e9\\ud83d\\ude00\\n\\/\u{20AC}"

    @inline(__always)
    private mutating func put(_ operation: Operation) {
        switch operation {
        case .create: put("Create")
        case .update: put("Update")
        case .upsert: put("Upsert")
        case .delete: put("Delete")
        }
    }

    @inline(__always)
    private mutating func put(_ text: StaticString) {
        memcpy(at, text.utf8Start, text.utf8CodeUnitCount)
        at += text.utf8CodeUnitCount
    }

    @inline(__always)
    private mutating func put(_ number: UInt64) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { scratch in
            var position = scratch.count
            var rest = number
            repeat {
                position -= 1
                let (tenth, digit) = rest.quotientAndRemainder(dividingBy: 10)
                scratch[position] = UInt8(truncatingIfNeeded: 0x30 + digit)
                rest = tenth
            } while rest > 0
            memcpy(at, scratch.baseAddress! + position, scratch.count - position)
            at += scratch.count - position
        }
    }
}
