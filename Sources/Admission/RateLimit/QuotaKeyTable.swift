// Owns who is known by name: the table from a client's key to its row, in fixed memory.

/// A client's key as the limiter keeps it: 128 bits, so that nothing is allocated for one, however long its name.
///
/// Addresses are kept as they are; names as a hash under a secret of the process, which nobody outside can aim at.
public struct RateLimitKey: Hashable, Sendable {
    /// What the key is, and the upper half of it.
    public let high: UInt64
    /// The lower half.
    public let low: UInt64

    /// A key as its two halves; whoever makes them sees to it that two clients never share one.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The key of a name. The highest bit is set: it meets no key made of an address.
    public init(name: String) {
        var first = Hasher()
        first.combine(0 as UInt8)
        first.combine(name)
        var second = Hasher()
        second.combine(1 as UInt8)
        second.combine(name)
        high = UInt64(bitPattern: Int64(first.finalize())) | 1 << 63
        low = UInt64(bitPattern: Int64(second.finalize()))
    }
}

/// Keys and their rows: open addressing with linear probing, never more than three quarters full, so nothing grows or moves.
struct QuotaKeyTable: ~Copyable {
    /// What is known of a row besides its quotas.
    struct Visit {
        let key: RateLimitKey
        /// When it was last heard of.
        var seen: UInt64
        /// Until when it was told to wait.
        var limitedUntil: UInt64
    }

    /// Rows there are.
    let capacity: Int
    /// Rows in use.
    private(set) var count = 0
    /// Rows that have ever been in use.
    private var begun = 0
    /// Of each row.
    private let visits: UnsafeMutablePointer<Visit>
    /// Of each place: the upper half of the hash, and the row and one in the lower half; 0: nobody's.
    private let places: UnsafeMutablePointer<UInt64>
    private let mask: Int
    private let secret: RateLimitKey
    /// Rows whose client has gone.
    private var free: [UInt32] = []

    /// - Parameter secret: what no client knows, so that none can choose where its keys come to lie.
    init(capacity: Int, secret: RateLimitKey) {
        self.capacity = capacity
        self.secret = secret
        var size = 16
        while size / 4 * 3 < capacity { size *= 2 }
        mask = size - 1
        visits = .allocate(capacity: Swift.max(1, capacity))
        places = .allocate(capacity: size)
        places.initialize(repeating: 0, count: size)
    }

    deinit {
        visits.deallocate()
        places.deallocate()
    }

    /// Bytes for a row beside its quotas.
    var bytesPerKey: Int { MemoryLayout<Visit>.stride + (mask + 1) * MemoryLayout<UInt64>.stride / Swift.max(1, capacity) }

    /// The row of a client that is known.
    func row(of key: RateLimitKey) -> Int? {
        let hash = hash(key)
        var place = Int(truncatingIfNeeded: hash) & mask
        while true {
            let entry = places[place]
            if entry == 0 { return nil }
            if entry >> 32 == hash >> 32 {
                let row = Int(entry & 0xFFFF_FFFF) - 1
                if visits[row].key == key { return row }
            }
            place = (place + 1) & mask
        }
    }

    /// A client comes that is not known, and there is a row for it.
    mutating func inserted(_ key: RateLimitKey, now: UInt64) -> Int {
        precondition(count < capacity, "no row is free")
        let row: Int
        if let known = free.popLast() {
            row = Int(known)
        } else {
            row = begun
            begun += 1
        }
        count += 1
        visits.advanced(by: row).initialize(to: Visit(key: key, seen: now, limitedUntil: 0))
        let hash = hash(key)
        var place = Int(truncatingIfNeeded: hash) & mask
        while places[place] != 0 { place = (place + 1) & mask }
        places[place] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(row + 1)
        return row
    }

    /// A client has gone. Those behind it move up, so that no gaps are left.
    mutating func removed(_ row: Int) {
        var gap = Int(truncatingIfNeeded: hash(visits[row].key)) & mask
        while places[gap] & 0xFFFF_FFFF != UInt64(row + 1) { gap = (gap + 1) & mask }
        var place = gap
        while true {
            place = (place + 1) & mask
            let entry = places[place]
            if entry == 0 { break }
            let home = Int(truncatingIfNeeded: hash(visits[Int(entry & 0xFFFF_FFFF) - 1].key)) & mask
            // It may move where the gap lies between its home and its place.
            if (place - home) & mask >= (place - gap) & mask {
                places[gap] = entry
                gap = place
            }
        }
        places[gap] = 0
        free.append(UInt32(row))
        count -= 1
    }

    /// The rows in use, in no order that means anything.
    var rows: [Int] {
        var rows: [Int] = []
        rows.reserveCapacity(count)
        for place in 0...mask where places[place] != 0 { rows.append(Int(places[place] & 0xFFFF_FFFF) - 1) }
        return rows
    }

    func visit(_ row: Int) -> Visit { visits[row] }

    mutating func visited(_ row: Int, now: UInt64) { visits[row].seen = now }

    mutating func limited(_ row: Int, until instant: UInt64) {
        visits[row].limitedUntil = Swift.max(visits[row].limitedUntil, instant)
    }

    /// What a client that was taken over from another table brings along.
    mutating func continued(_ row: Int, as visit: Visit) { visits[row] = visit }

    /// Multiplications fold key and secret; the seed keeps the distribution out of the clients' hands.
    private func hash(_ key: RateLimitKey) -> UInt64 {
        let first = Self.fold(key.high ^ secret.high, 0x9E37_79B9_7F4A_7C15 ^ secret.low)
        return Self.fold(first ^ key.low, secret.low | 1) ^ first
    }

    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (high, low) = a.multipliedFullWidth(by: b)
        return high ^ low
    }
}
