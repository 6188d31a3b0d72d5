// Owns the hash table from a client's key to its row of quotas, in fixed memory.

/// A client's key in 128 bits, so that no key allocates memory.
///
/// Addresses are stored as they are, names as a hash with the process's random seed, so that collisions cannot be constructed.
public struct RateLimitKey: Hashable, Sendable {
    /// The kind of the key, and its upper half.
    public let high: UInt64
    /// The lower half.
    public let low: UInt64

    /// The caller ensures that no two clients share a key.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The key of a name. The highest bit is set, so it is never equal to the key of an address.
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

/// Keys and their rows: open addressing with linear probing, at most three quarters full, so it never grows.
struct QuotaKeyTable: ~Copyable {
    /// A row without its quotas.
    struct Client {
        let key: RateLimitKey
        /// The instant of its last request.
        var seen: UInt64
        /// Until when a refused client was told to wait.
        var limitedUntil: UInt64
    }

    /// Number of rows.
    let capacity: Int
    /// Rows in use.
    private(set) var count = 0
    /// Rows that have ever been in use.
    private var everUsed = 0
    /// By row.
    private let clients: UnsafeMutablePointer<Client>
    /// Of each slot: the upper half of the hash, and row + 1 in the lower half; 0: empty.
    private let slots: UnsafeMutablePointer<UInt64>
    private let mask: Int
    private let secret: RateLimitKey
    /// Rows whose client was removed.
    private var free: [UInt32] = []

    /// - Parameter secret: seeds the hash, so that clients cannot choose the slots of their keys.
    init(capacity: Int, secret: RateLimitKey) {
        self.capacity = capacity
        self.secret = secret
        var size = 16
        while size / 4 * 3 < capacity { size *= 2 }
        mask = size - 1
        clients = .allocate(capacity: Swift.max(1, capacity))
        slots = .allocate(capacity: size)
        slots.initialize(repeating: 0, count: size)
    }

    deinit {
        clients.deallocate()
        slots.deallocate()
    }

    /// Bytes of a row without its quotas.
    var bytesPerKey: Int { MemoryLayout<Client>.stride + (mask + 1) * MemoryLayout<UInt64>.stride / Swift.max(1, capacity) }

    /// The row of a client; `nil`: it has none.
    func row(of key: RateLimitKey) -> Int? {
        let hash = hash(key)
        var slot = Int(truncatingIfNeeded: hash) & mask
        while true {
            let entry = slots[slot]
            if entry == 0 { return nil }
            if entry >> 32 == hash >> 32 {
                let row = Int(entry & 0xFFFF_FFFF) - 1
                if clients[row].key == key { return row }
            }
            slot = (slot + 1) & mask
        }
    }

    /// Adds a client. There must be a free row, and no row of this key.
    mutating func insert(_ key: RateLimitKey, now: UInt64) -> Int {
        precondition(count < capacity, "no row is free")
        let row: Int
        if let known = free.popLast() {
            row = Int(known)
        } else {
            row = everUsed
            everUsed += 1
        }
        count += 1
        clients.advanced(by: row).initialize(to: Client(key: key, seen: now, limitedUntil: 0))
        let hash = hash(key)
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(row + 1)
        return row
    }

    /// Removes a client. The entries after it move back, so that the probe sequences have no gaps.
    mutating func remove(_ row: Int) {
        var gap = Int(truncatingIfNeeded: hash(clients[row].key)) & mask
        while slots[gap] & 0xFFFF_FFFF != UInt64(row + 1) { gap = (gap + 1) & mask }
        var slot = gap
        while true {
            slot = (slot + 1) & mask
            let entry = slots[slot]
            if entry == 0 { break }
            let home = Int(truncatingIfNeeded: hash(clients[Int(entry & 0xFFFF_FFFF) - 1].key)) & mask
            // It may move where the gap lies between its home slot and its slot.
            if (slot - home) & mask >= (slot - gap) & mask {
                slots[gap] = entry
                gap = slot
            }
        }
        slots[gap] = 0
        free.append(UInt32(row))
        count -= 1
    }

    /// The rows in use, in no particular order.
    var rows: [Int] {
        var rows: [Int] = []
        rows.reserveCapacity(count)
        for slot in 0...mask where slots[slot] != 0 { rows.append(Int(slots[slot] & 0xFFFF_FFFF) - 1) }
        return rows
    }

    subscript(row: Int) -> Client {
        get { clients[row] }
        set { clients[row] = newValue }
    }

    /// Two full-width multiplications mix key and secret (as in wyhash).
    private func hash(_ key: RateLimitKey) -> UInt64 {
        let first = Self.mix(key.high ^ secret.high, 0x9E37_79B9_7F4A_7C15 ^ secret.low)
        return Self.mix(first ^ key.low, secret.low | 1) ^ first
    }

    @inline(__always)
    private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (high, low) = a.multipliedFullWidth(by: b)
        return high ^ low
    }
}
