// Decides by which key the rate limits know a client that has no token.

import Admission
import HTTPServer

enum ClientKeys {
    /// The key of an address. An IPv6 client is assumed to own the whole /64.
    static func key(_ address: SocketAddress) -> RateLimitKey {
        switch address {
        case .ipv4(let number): RateLimitKey(address: UInt64(number), isIPv6: false)
        case .ipv6(let network, _): RateLimitKey(address: network, isIPv6: true)
        }
    }

    /// The key of a client without a token.
    /// - Parameters:
    ///   - peer: the other end of the connection.
    ///   - forwarded: the lines of X-Forwarded-For, in order.
    ///   - trusted: own proxies. Each appends the address it was called from. So, from the right, every entry that one of them has
    ///     written is true, and the client is the first that is no such proxy; entries further left come from the client. Where all
    ///     are proxies, it is the leftmost.
    static func key(peer: SocketAddress?, forwarded: [String], trusted: [IPNetwork]) -> RateLimitKey {
        guard var client = peer else { return .unknown }
        for entry in forwarded.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) }).reversed() {
            guard trusted.contains(where: { $0.contains(client) }) else { break }
            let text = trimmed(entry)
            guard !text.isEmpty else { break }
            guard let address = address(in: text) else { return RateLimitKey(name: "for " + text) }
            client = address
        }
        return key(client)
    }

    /// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`.
    private static func address(in entry: String) -> SocketAddress? {
        if entry.hasPrefix("[") { return SocketAddress(String(entry.dropFirst().prefix { $0 != "]" })) }
        if let address = SocketAddress(entry) { return address }
        return SocketAddress(String(entry.prefix { $0 != ":" }))
    }

    private static func trimmed(_ text: Substring) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        guard let last = start.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return String(start[...last])
    }
}
