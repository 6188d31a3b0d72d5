// Decides who a request's client is for the limits: a name it has proved, or the address it comes from.

import Admission
import HTTPServer

enum ClientKeys {
    /// The key of an address. Whoever has one IPv6 address has its whole /64.
    static func key(_ address: HTTPAddress) -> LimitKey {
        switch address {
        case .ipv4(let number): LimitKey(high: 1, low: UInt64(number))
        case .ipv6(let network, _): LimitKey(high: 2, low: network)
        }
    }

    /// The key of a client without a name.
    /// - Parameters:
    ///   - peer: whoever holds the other end of the connection.
    ///   - forwarded: the lines of X-Forwarded-For, in order.
    ///   - trusted: how many proxies the request has passed for certain. The nearest one is the peer; each has added the address it was
    ///     called from at the end. So the client is what the farthest of them has added: that many from the right. Everything further
    ///     left is the client's own word. Where less is there than the proxies should have added, the leftmost counts.
    static func key(peer: HTTPAddress?, forwarded: [String], trusted: Int) -> LimitKey {
        guard trusted > 0 else { return peer.map(key) ?? nobody }
        let chain = forwarded.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }.map(trimmed)
        guard let entry = chain.suffix(trusted).first, !entry.isEmpty else { return peer.map(key) ?? nobody }
        return address(in: entry).map(key) ?? LimitKey(name: "for " + entry)
    }

    /// Peers without an address share a key.
    private static let nobody = LimitKey(high: 0, low: 0)

    /// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`.
    private static func address(in entry: String) -> HTTPAddress? {
        if entry.hasPrefix("[") { return HTTPAddress(String(entry.dropFirst().prefix { $0 != "]" })) }
        if let address = HTTPAddress(entry) { return address }
        return HTTPAddress(String(entry.prefix { $0 != ":" }))
    }

    private static func trimmed(_ text: Substring) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        guard let last = start.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return String(start[...last])
    }
}
