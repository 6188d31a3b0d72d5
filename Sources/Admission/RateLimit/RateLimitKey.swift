// Owns the key by which the rate limits know a client.

/// A client's key in 64 bits, so that no key allocates memory: a hash with the process's random seed, so that nobody can construct two
/// clients with one key. Among four million clients two share a key by chance once in two million processes.
public struct RateLimitKey: Hashable, Sendable {
    /// The key of all clients of which nothing is known, or nothing is asked.
    public static let unknown = RateLimitKey(name: "")

    private let hash: Int

    /// The key of an address: all of it, or the part that belongs to one client.
    public init(address: UInt64, isIPv6: Bool) {
        var hasher = Hasher()
        hasher.combine(isIPv6)
        hasher.combine(address)
        hash = hasher.finalize()
    }

    /// The key of a name.
    public init(name: String) {
        var hasher = Hasher()
        hasher.combine(2 as UInt8)
        hasher.combine(name)
        hash = hasher.finalize()
    }
}
