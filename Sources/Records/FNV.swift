// Owns the one hash for names, checksums and fingerprints.

/// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv), over the text's UTF-8. Stable across releases; no protection against attackers.
public func fnv1a(_ text: String) -> UInt64 {
    var hash = FNV1a()
    hash.add(text.utf8)
    return hash.value
}

/// FNV-1a, 64 bits, of bytes that come in parts.
public struct FNV1a: Sendable {
    /// The hash of what was added so far.
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash of nothing.
    public init() {}

    /// Appends bytes.
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }

    /// Appends an integer, the low byte first.
    public mutating func add(_ integer: Int64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(CollectionOfOne(UInt8(truncatingIfNeeded: integer >> Int64(shift)))) }
    }
}
