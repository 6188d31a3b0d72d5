// Proves which address counts as the client behind proxies: the entry of the trusted proxies, not what the client wrote.

import Admission
import Backpressure
import HTTPServer
import Testing

@testable import sluice

private func key(_ address: String) throws -> RateLimitKey { ClientKeys.key(try #require(SocketAddress(address))) }

@Suite struct ClientKeyTests {
    private let proxy = SocketAddress("10.0.0.1")

    @Test func withoutProxiesThePeerCountsWhateverTheHeaderSays() throws {
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["192.0.2.7"], trusted: 0) == key("10.0.0.1"))
        #expect(ClientKeys.key(peer: nil, forwarded: [], trusted: 0) == ClientKeys.key(peer: nil, forwarded: [], trusted: 3))
    }

    @Test func eachTrustedProxyIsOneStepFromTheRight() throws {
        let lines = ["6.6.6.6, 192.0.2.7 ,10.0.0.9"]
        #expect(try ClientKeys.key(peer: proxy, forwarded: lines, trusted: 1) == key("10.0.0.9"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: lines, trusted: 2) == key("192.0.2.7"))
        // A proxy that adds a line after the client's own.
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["6.6.6.6", "192.0.2.7"], trusted: 1) == key("192.0.2.7"))
        // Fewer entries than trusted proxies.
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["192.0.2.7"], trusted: 3) == key("192.0.2.7"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: [], trusted: 1) == key("10.0.0.1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["192.0.2.7, "], trusted: 1) == key("10.0.0.1"))
    }

    @Test(arguments: ["192.0.2.7", "192.0.2.7:4711", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:80", " 192.0.2.7\t"])
    func oneAddressIsOneClientHoweverItIsWritten(text: String) throws {
        #expect(try ClientKeys.key(peer: proxy, forwarded: [text], trusted: 1) == key("192.0.2.7"))
    }

    @Test func anIPv6NetworkIsOneClient() throws {
        #expect(try key("2001:db8:1:2:3:4:5:6") == key("2001:db8:1:2::1"))
        #expect(try key("2001:db8:1:2::1") != key("2001:db8:1:3::1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["[2001:db8:1:2::9]:443"], trusted: 1) == key("2001:db8:1:2::1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["2001:db8:1:2::9"], trusted: 1) == key("2001:db8:1:2::1"))
        #expect(try key("0.0.0.1") != key("::1"))
    }

    @Test func anEntryThatIsNoAddressIsAClientOfItsOwn() throws {
        let hidden = ClientKeys.key(peer: proxy, forwarded: ["_hidden"], trusted: 1)
        #expect(hidden == ClientKeys.key(peer: proxy, forwarded: ["_hidden"], trusted: 1))
        #expect(hidden != ClientKeys.key(peer: proxy, forwarded: ["unknown"], trusted: 1))
        #expect(hidden != RateLimitKey(name: "_hidden"), "nobody takes a token's name by writing it")
    }
}
