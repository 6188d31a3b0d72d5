// Owns networks of IP addresses, as in `10.0.0.0/8`.

import HTTPServer

/// The IP addresses that begin with the same bits (RFC 4632, RFC 4291).
struct IPNetwork: Sendable, Equatable, LosslessStringConvertible {
    /// As it was written.
    let description: String
    private let first: SocketAddress
    private let prefix: Int

    /// Parses `10.0.0.0/8`, `fd00::/8`, or an address, which is a network of one. Bits beyond the prefix do not count.
    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = SocketAddress(String(parts[0])) else { return nil }
        let isIPv4 = if case .ipv4 = address { true } else { false }
        // An IPv4 address in IPv6 notation, `::ffff:10.0.0.0/104`.
        let mapped = isIPv4 && parts[0].contains(":") ? 96 : 0
        var length = isIPv4 ? 32 : 128
        if parts.count == 2 {
            guard let written = UInt8(parts[1]), parts[1] == "\(written)", (0...length).contains(Int(written) - mapped) else {
                return nil
            }
            length = Int(written) - mapped
        }
        description = text
        first = address
        prefix = length
    }

    func contains(_ address: SocketAddress) -> Bool {
        switch (first, address) {
        case (.ipv4(let own), .ipv4(let other)): (own ^ other) >> (32 - prefix) == 0
        case (.ipv6(let high, let low), .ipv6(let otherHigh, let otherLow)):
            (high ^ otherHigh) >> max(0, 64 - prefix) == 0 && (low ^ otherLow) >> min(64, 128 - prefix) == 0
        default: false
        }
    }
}
