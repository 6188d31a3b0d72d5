// Owns the one hash for names and checksums of texts.

/// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv), over the text's UTF-8. Stable across releases; no protection against attackers.
public func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
