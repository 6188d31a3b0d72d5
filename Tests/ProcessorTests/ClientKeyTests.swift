// Proves which address counts as the client behind proxies: the entry of the trusted proxies, not what the client wrote.

import Admission
import Backpressure
import HTTPServer
import Testing

@testable import sluice

private func key(_ address: String) throws -> RateLimitKey { ClientKeys.key(try #require(SocketAddress(address))) }

@Suite struct ClientKeyTests {
    private let proxy = SocketAddress("10.0.0.1")
    private let own = ["10.0.0.0/8", "fd00::/8"].compactMap(IPNetwork.init)

    @Test func withoutProxiesThePeerCountsWhateverTheHeaderSays() throws {
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["192.0.2.7"], trusted: []) == key("10.0.0.1"))
        #expect(
            ClientKeys.key(peer: nil, forwarded: [], trusted: [])
                == ClientKeys.key(peer: nil, forwarded: ["1.1.1.1"], trusted: own))
    }

    /// A client that reaches the port directly must not choose its key.
    @Test func theHeaderIsBelievedFromProxiesOnly() throws {
        for peer in ["192.0.2.9", "11.0.0.1", "2001:db8::1"] {
            #expect(try ClientKeys.key(peer: SocketAddress(peer), forwarded: ["192.0.2.7"], trusted: own) == key(peer), "\(peer)")
        }
    }

    @Test func theClientIsTheLastEntryThatIsNoProxy() throws {
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["6.6.6.6, 192.0.2.7 ,10.0.0.9"], trusted: own) == key("192.0.2.7"))
        #expect(
            try ClientKeys.key(peer: proxy, forwarded: ["6.6.6.6, 192.0.2.7, [fd00::1]:80"], trusted: own) == key("192.0.2.7"))
        // A proxy that adds a line after the client's own.
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["6.6.6.6", "192.0.2.7"], trusted: own) == key("192.0.2.7"))
        // Only proxies: the one that is furthest away has asked for itself.
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["10.0.0.8, 10.0.0.9"], trusted: own) == key("10.0.0.8"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: [], trusted: own) == key("10.0.0.1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["192.0.2.7, "], trusted: own) == key("10.0.0.1"))
    }

    @Test func aNetworkHasTheAddressesThatBeginAsItDoes() throws {
        for (network, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "::10.0.0.1"]),
            ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6"]), ("0.0.0.0/0", ["1.2.3.4", "255.255.255.255"], ["::1"]),
            ("10.1.2.3/8", ["10.0.0.1"], ["11.1.2.3"]), ("::ffff:10.0.0.0/104", ["10.9.9.9"], ["11.0.0.0"]),
            ("fd00::/8", ["fd00::1", "fdff:ffff::"], ["fe00::", "10.0.0.1"]), ("::/0", ["::1", "ffff::"], ["1.2.3.4"]),
            ("2001:db8::/64", ["2001:db8::ffff"], ["2001:db8:0:1::"]), ("2001:db8::a0/124", ["2001:db8::af"], ["2001:db8::b0"]),
            ("::1", ["::1"], ["::2", "0:0:0:1::1"]),
        ] {
            let parsed = try #require(IPNetwork(network), "\(network)")
            #expect(parsed.description == network)
            for address in inside { #expect(parsed.contains(try #require(SocketAddress(address))), "\(address) in \(network)") }
            for address in outside { #expect(!parsed.contains(try #require(SocketAddress(address))), "\(address) in \(network)") }
        }
        for wrong in [
            "", "1", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/-0", "10.0.0.0/08",
            "fd00::/129", "::ffff:1.2.3.4/95",
            "a/8",
        ] {
            #expect(IPNetwork(wrong) == nil, "\(wrong)")
        }
    }

    @Test(arguments: ["192.0.2.7", "192.0.2.7:4711", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:80", " 192.0.2.7\t"])
    func oneAddressIsOneClientHoweverItIsWritten(text: String) throws {
        #expect(try ClientKeys.key(peer: proxy, forwarded: [text], trusted: own) == key("192.0.2.7"))
    }

    @Test func anIPv6NetworkIsOneClient() throws {
        #expect(try key("2001:db8:1:2:3:4:5:6") == key("2001:db8:1:2::1"))
        #expect(try key("2001:db8:1:2::1") != key("2001:db8:1:3::1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["[2001:db8:1:2::9]:443"], trusted: own) == key("2001:db8:1:2::1"))
        #expect(try ClientKeys.key(peer: proxy, forwarded: ["2001:db8:1:2::9"], trusted: own) == key("2001:db8:1:2::1"))
        #expect(try key("0.0.0.1") != key("::1"))
    }

    @Test func anEntryThatIsNoAddressIsAClientOfItsOwn() throws {
        let hidden = ClientKeys.key(peer: proxy, forwarded: ["_hidden"], trusted: own)
        #expect(hidden == ClientKeys.key(peer: proxy, forwarded: ["_hidden"], trusted: own))
        #expect(hidden != ClientKeys.key(peer: proxy, forwarded: ["unknown"], trusted: own))
        #expect(hidden != RateLimitKey(name: "_hidden"), "nobody takes a token's name by writing it")
    }
}
