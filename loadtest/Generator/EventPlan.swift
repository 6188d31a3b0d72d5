// Computes event number i from i and a seed: its key, its operation, or in which way it is bad.

import Platform
import Records

/// The ways in which an event can be refused by decoding.
enum Flaw: UInt8, CaseIterable, Sendable {
    /// The last brace is missing.
    case truncated
    /// `message_id` is a string.
    case wrongType
    /// `message_id` does not fit an int4.
    case outOfRange
    /// An unknown action.
    case unknownAction
    /// `data.name` is missing.
    case missingField
    /// A NUL character, which PostgreSQL's text cannot hold.
    case nulCharacter
    /// Invalid JSON in a field that the mapping does not use.
    case brokenElsewhere
}

/// Shares of the operations.
struct Mix: Sendable, Equatable {
    /// Weight per operation; only their proportions count.
    let create, update, delete, upsert: Double

    /// 60 creates, 30 updates, 10 deletes.
    static let usual = Mix(create: 60, update: 30, delete: 10, upsert: 0)

    /// The operation that belongs to a number in 0 ..< 1.
    @inline(__always)
    func operation(_ unit: Double) -> Operation {
        let at = unit * (create + update + delete + upsert)
        if at < create { return .create }
        if at < create + update { return .update }
        if at < create + update + delete { return .delete }
        return upsert > 0 ? .upsert : delete > 0 ? .delete : update > 0 ? .update : .create
    }
}

/// One event, not yet written out.
struct PlannedEvent: Sendable, Equatable {
    /// Its number in the run, from 0.
    let index: UInt64
    /// Its key, counted from the first id of the run.
    let slot: Int32
    /// Its operation. A bad event has one too, which is not applied.
    let operation: Operation
    /// Why it is refused; `nil` for a good event.
    let flaw: Flaw?
}

/// The sequence of events as a function of the position.
struct EventPlan: Sendable {
    /// Number of keys.
    let keys: Int
    /// The first id of the run's own range.
    let firstID: Int32
    /// Bytes of the message text in the table.
    let payloadBytes: Int
    private let seed: UInt64
    private let mix: Mix
    private let badFraction: Double
    private let zipf: ZipfSampler
    private let stride: UInt64

    /// - Parameters:
    ///   - seed: the same seed and the same other numbers give the same events.
    ///   - skew: exponent of the Zipf distribution over the keys; 0: all alike.
    ///   - badFraction: share of events, 0 … 1, that decoding refuses.
    ///   - payloadBytes: bytes of the message text.
    init(
        seed: UInt64, keys: Int, firstID: Int32 = 1, skew: Double = 0, mix: Mix = .usual, badFraction: Double = 0,
        payloadBytes: Int = 100
    ) {
        self.seed = seed
        self.keys = keys
        self.firstID = firstID
        self.mix = mix
        self.badFraction = badFraction
        self.payloadBytes = payloadBytes
        zipf = ZipfSampler(count: keys, exponent: skew)
        stride = Self.coprime(to: UInt64(keys))
    }

    /// Event number `index`.
    @inline(__always)
    func event(_ index: UInt64) -> PlannedEvent {
        var random = SplitMix64(seed: seed, index: index)
        let operation = mix.operation(random.unit())
        let flaw = random.unit() < badFraction ? Flaw(rawValue: UInt8(random.next() % UInt64(Flaw.allCases.count))) : nil
        // Hot ranks are spread over the range of ids, so that neighbours in the index are not the hot ones.
        let slot = UInt64(zipf.sample(&random)) &* stride % UInt64(keys)
        return PlannedEvent(index: index, slot: Int32(truncatingIfNeeded: slot), operation: operation, flaw: flaw)
    }

    /// The seed of the text of event number `index`.
    @inline(__always)
    func textSeed(_ index: UInt64) -> UInt64 { SplitMix64.mix(seed ^ SplitMix64.mix(index &+ 0x5851_F42D_4C95_7F2D)) }

    /// The id of a slot.
    @inline(__always)
    func id(_ slot: Int32) -> Int32 { firstID + slot }

    /// The slot of an id; `nil` if it is not of this run.
    @inline(__always)
    func slot(id: Int64) -> Int32? {
        let slot = id - Int64(firstID)
        return slot >= 0 && slot < Int64(keys) ? Int32(slot) : nil
    }

    /// A number near the golden section of `count` without a common divisor: multiplying by it permutes 0 ..< count.
    private static func coprime(to count: UInt64) -> UInt64 {
        var candidate = max(UInt64(Double(count) * 0.618_033_988_75), 1)
        func divisor(_ a: UInt64, _ b: UInt64) -> UInt64 { b == 0 ? a : divisor(b, a % b) }
        while divisor(candidate, count) != 1 { candidate += 1 }
        return candidate
    }
}
