// Transcripts of the connection limit and the minimum transfer rate; addresses; and the framing of requests.

import Glibc
import TestSupport
import Testing

@testable import HTTPServer

private let near = SocketAddress.ipv4(1)
private let far = SocketAddress.ipv4(2)

private func opened(_ number: Int, evicting evicted: Int? = nil) -> ConnectionLimitMachine.Opened {
    ConnectionLimitMachine.Opened(number: number, evicted: evicted)
}

@Suite struct ConnectionLimitMachineTests {
    @Test("a connection beyond the limit is served priority routes only, and is admitted once a slot is free")
    func reservedSlots() {
        var machine = ConnectionLimitMachine(.init(slots: 2, perNetwork: 0, reservedSlots: 2))
        #expect(machine.opened(from: near) == opened(0))
        #expect(machine.opened(from: near) == opened(1))
        #expect(machine.opened(from: near) == opened(2))
        #expect(machine.reservedCount == 1)
        for number in 0...1 { #expect(machine.requested(number, isPriority: false).isServed == true) }
        #expect(machine.requested(2, isPriority: false).isServed == false)
        #expect(machine.requested(2, isPriority: true).isServed == true)
        machine.becameIdle(2)
        machine.closed(0)
        #expect(machine.requested(2, isPriority: false).isServed == true)
        #expect(machine.reservedCount == 0)
        // The number of the closed connection is used again, for one that is not admitted.
        #expect(machine.opened(from: near) == opened(0))
        #expect(machine.requested(0, isPriority: false).isServed == false)
    }

    @Test("the oldest idle connection is evicted for a new one; one whose request is handled is not")
    func eviction() {
        var machine = ConnectionLimitMachine(.init(slots: 1, perNetwork: 0, reservedSlots: 2))
        for number in 0..<3 { #expect(machine.opened(from: near) == opened(number)) }
        #expect(machine.requested(1, isPriority: true).isServed == true)
        machine.requestReceived(1)
        #expect(machine.opened(from: near) == opened(3, evicting: 2))
        #expect(machine.requested(2, isPriority: true).isServed == false, "evicted")
        #expect(machine.requested(3, isPriority: true).isServed == true)
        machine.requestReceived(3)
        // Requests of all are being handled: the new connection itself is evicted.
        #expect(machine.opened(from: near) == opened(4, evicting: 4))
        machine.becameIdle(1)
        #expect(machine.opened(from: near) == opened(5, evicting: 1))
        for number in [2, 4, 1] { machine.closed(number) }
        #expect(machine.reservedCount == 2)
    }

    @Test("connections with an incomplete request or an unread response are evicted as well")
    func holders() {
        var machine = ConnectionLimitMachine(.init(slots: 1, perNetwork: 0, reservedSlots: 2))
        for number in 0..<3 { #expect(machine.opened(from: near) == opened(number)) }
        for number in 1...2 { #expect(machine.requested(number, isPriority: true).isServed == true) }
        machine.requestReceived(1)
        machine.responded(1)
        #expect(machine.opened(from: near) == opened(3, evicting: 2), "its body is not complete")
        machine.requestReceived(3)
        #expect(machine.opened(from: near) == opened(4, evicting: 1), "its response is not read")
    }

    @Test("a flood from one network evicts its own connections")
    func floods() {
        var machine = ConnectionLimitMachine(.init(slots: 1, perNetwork: 0, reservedSlots: 3))
        #expect(machine.opened(from: near) == opened(0))
        #expect(machine.opened(from: far) == opened(1))
        for number in 2...3 { #expect(machine.opened(from: near) == opened(number)) }
        #expect(machine.opened(from: near) == opened(4, evicting: 2))
        #expect(machine.opened(from: near) == opened(5, evicting: 3))
        #expect(machine.requested(1, isPriority: true).isServed == true)
        // With equal counts the oldest is evicted.
        var even = ConnectionLimitMachine(.init(slots: 1, perNetwork: 0, reservedSlots: 1))
        #expect(even.opened(from: near) == opened(0))
        #expect(even.opened(from: far) == opened(1))
        #expect(even.opened(from: near) == opened(2, evicting: 1))
    }

    @Test("a request without a free slot takes that of the oldest idle connection of the network that holds most")
    func idleSlots() {
        var machine = ConnectionLimitMachine(.init(slots: 4, perNetwork: 0, reservedSlots: 3))
        let networks = [far, near, near, near, .ipv4(3)]
        for (number, network) in networks.enumerated() { #expect(machine.opened(from: network) == opened(number)) }
        for number in 0...3 { #expect(machine.requested(number, isPriority: false).isServed == true) }
        #expect(machine.requested(4, isPriority: true) == .init(isServed: true), "a priority route needs no slot")
        #expect(machine.requested(4, isPriority: false) == .init(isServed: false), "none is idle")
        // 0 is idle longest, but its network holds one slot; of the three of the other, 2 is idle longer than 1.
        for number in [0, 2, 1] { machine.becameIdle(number) }
        #expect(machine.requested(4, isPriority: false) == .init(isServed: true, evicted: 2))
        #expect(machine.requested(2, isPriority: false) == .init(isServed: false), "evicted")
        #expect(machine.reservedCount == 0)
        machine.closed(2)
        #expect(machine.opened(from: far) == opened(2))
        #expect(machine.requested(2, isPriority: false) == .init(isServed: true, evicted: 1))
    }

    @Test("a request beyond the limit of its network takes a slot of its own network only")
    func ownIdleSlots() {
        var machine = ConnectionLimitMachine(.init(slots: 3, perNetwork: 1, reservedSlots: 2))
        #expect(machine.opened(from: far) == opened(0))
        #expect(machine.opened(from: near) == opened(1))
        #expect(machine.requested(1, isPriority: false).isServed == true)
        #expect(machine.opened(from: near) == opened(2))
        #expect(machine.requested(2, isPriority: false) == .init(isServed: false))
        machine.becameIdle(1)
        #expect(machine.requested(2, isPriority: false) == .init(isServed: true, evicted: 1))
    }

    @Test("a network has a limit of its own, and takes no slot beyond it")
    func networks() {
        var machine = ConnectionLimitMachine(.init(slots: 10, perNetwork: 1, reservedSlots: 2))
        #expect(machine.opened(from: near) == opened(0))
        #expect(machine.opened(from: near) == opened(1))
        #expect(machine.opened(from: far) == opened(2))
        for number in [0, 2] { #expect(machine.requested(number, isPriority: false).isServed == true) }
        #expect(machine.requested(1, isPriority: false).isServed == false)
        machine.closed(2)
        #expect(machine.requested(1, isPriority: false).isServed == false)
        machine.closed(0)
        #expect(machine.requested(1, isPriority: false).isServed == true)
    }

    @Test("a changed limit keeps admitted connections, and applies from the next request on")
    func changes() {
        var machine = ConnectionLimitMachine(.init(slots: 2, perNetwork: 0, reservedSlots: 2))
        for number in 0..<3 { #expect(machine.opened(from: near) == opened(number)) }
        machine.update(.init(slots: 1, perNetwork: 0, reservedSlots: 2))
        for number in [0, 1] { #expect(machine.requested(number, isPriority: false).isServed == true) }
        machine.closed(0)
        #expect(machine.requested(2, isPriority: false).isServed == false)
        machine.update(.init(slots: 2, perNetwork: 0, reservedSlots: 2))
        #expect(machine.requested(2, isPriority: false).isServed == true)
    }

    @Test("no more connections are admitted than the limits allow, and all slots are free in the end")
    func model() {
        let seed = testSeed("connection limit")
        var random = SeededRandom(seed: seed)
        let limits = ConnectionLimitMachine.Limits(slots: 20, perNetwork: 7, reservedSlots: 5)
        var machine = ConnectionLimitMachine(limits)
        var open: [Int: (network: SocketAddress, isClosing: Bool)] = [:]
        for _ in 0..<20_000 {
            if open.isEmpty || Int.random(in: 0..<3, using: &random) > 0, open.count < 60 {
                let network = SocketAddress.ipv4(UInt32.random(in: 0..<6, using: &random))
                let (number, evicted) = { ($0.number, $0.evicted) }(machine.opened(from: network))
                #expect(open[number] == nil, "seed \(seed)")
                open[number] = (network, false)
                if let evicted {
                    #expect(open[evicted]?.isClosing == false, "seed \(seed)")
                    open[evicted]?.isClosing = true
                }
            } else if let number = open.keys.sorted().randomElement(using: &random) {
                machine.closed(number)
                open[number] = nil
            }
            // With a request, every connection that the limits allow is admitted, in the place of an idle one if need be.
            var admitted: [SocketAddress: Int] = [:]
            for number in open.keys.sorted() {
                let requested = machine.requested(number, isPriority: false)
                guard requested.isServed, let one = open[number] else { continue }
                #expect(!one.isClosing, "seed \(seed)")
                admitted[one.network, default: 0] += 1
                guard let evicted = requested.evicted else { continue }
                #expect(open[evicted]?.isClosing == false, "seed \(seed)")
                open[evicted]?.isClosing = true
                if evicted < number, let network = open[evicted]?.network { admitted[network, default: 0] -= 1 }
            }
            if Bool.random(using: &random), let number = open.keys.sorted().randomElement(using: &random) {
                machine.becameIdle(number)
            }
            #expect(
                admitted.values.reduce(0, +) <= limits.slots && (admitted.values.max() ?? 0) <= limits.perNetwork, "seed \(seed)")
            #expect(machine.reservedCount <= limits.reservedSlots, "seed \(seed)")
        }
        for number in open.keys { machine.closed(number) }
        #expect(machine.reservedCount == 0)
        for number in 0..<limits.perNetwork {
            let next = machine.opened(from: near).number
            #expect(machine.requested(next, isPriority: false) == .init(isServed: true), "slot \(number), seed \(seed)")
        }
    }
}

@Suite struct TransferRateMachineTests {
    private let second: UInt64 = 1_000_000_000
    private let limits = TransferRateMachine.Limits(
        header: 10_000_000_000, bodyGrace: 5_000_000_000, bodyRate: 100)
    private let idle: UInt64 = 60_000_000_000

    @Test("a header has its time from the opening, and on a kept connection after the idle timeout")
    func headers() {
        var machine = TransferRateMachine(openedAt: second, idle: idle)
        #expect(machine.violation(now: 11 * second, limits) == nil)
        #expect(machine.violation(now: 11 * second + 1, limits) == .header)
        machine.headerReceived(now: 5 * second, isBodyExpected: false)
        #expect(machine.violation(now: 500 * second, limits) == nil, "the request is being handled")
        machine.requestEnded(now: 100 * second)
        #expect(machine.violation(now: 170 * second, limits) == nil)
        #expect(machine.violation(now: 170 * second + 1, limits) == .header)
    }

    @Test("a body must keep the minimum rate after the grace")
    func bodies() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: second, isBodyExpected: true)
        #expect(machine.violation(now: 6 * second, limits) == nil)
        #expect(machine.violation(now: 6 * second + 1, limits) == .body)
        machine.moved(100)
        #expect(machine.violation(now: 7 * second, limits) == nil)
        #expect(machine.violation(now: 7 * second + second / 10, limits) == .body)
        machine.moved(1_000)
        #expect(machine.violation(now: 17 * second, limits) == nil)
        #expect(machine.violation(now: 18 * second, limits) == .body)
        machine.requestReceived()
        #expect(machine.violation(now: 100 * second, limits) == nil)
    }

    @Test("time in which the server does not read the body does not count")
    func pauses() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        machine.paused(now: 4 * second)
        #expect(machine.violation(now: 400 * second, limits) == nil)
        machine.resumed(now: 400 * second)
        #expect(machine.violation(now: 401 * second, limits) == nil)
        #expect(machine.violation(now: 401 * second + 1, limits) == .body)
        // A whole request cannot be paused.
        machine.requestReceived()
        machine.paused(now: 500 * second)
        machine.resumed(now: 600 * second)
        #expect(machine.violation(now: 900 * second, limits) == nil)
    }

    @Test("time in which the loop stood still does not count, and gives no client extra time")
    func loopDelays() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.loopDelayed(by: 60 * second, now: 61 * second)
        #expect(machine.violation(now: 70 * second, limits) == nil)
        #expect(machine.violation(now: 70 * second + 1, limits) == .header)
        machine.headerReceived(now: 100 * second, isBodyExpected: true)
        machine.loopDelayed(by: 50 * second, now: 100 * second)
        #expect(machine.violation(now: 105 * second + 1, limits) == .body, "it began after the delay")
        machine.paused(now: 102 * second)
        machine.loopDelayed(by: 50 * second, now: 200 * second)
        machine.resumed(now: 202 * second)
        #expect(machine.violation(now: 205 * second, limits) == nil)
        #expect(machine.violation(now: 205 * second + 1, limits) == .body)
    }

    @Test("the surplus of a fast client is capped at the idle timeout")
    func surplus() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let fast = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 10_000)
        machine.moved(100_000_000)
        // Bytes for ten thousand seconds.
        #expect(machine.violation(now: 10 * second, fast) == nil)
        #expect(machine.violation(now: 70 * second, fast) == nil)
        #expect(machine.violation(now: 70 * second + second / 10, fast) == .body)
    }

    @Test("another rate applies from the last check on")
    func reload() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let none = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 0)
        let some = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 500)
        for time in 1...3_600 as ClosedRange<UInt64> {
            machine.moved(1_000)
            #expect(machine.violation(now: time * second, none) == nil)
        }
        #expect(machine.violation(now: 3_601 * second, some) == nil)
        #expect(machine.violation(now: 3_600 * second + 140 * second, some) == .body)
    }

    @Test("a long response must be read at the minimum rate")
    func responses() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        machine.requestReceived()
        machine.responseStarted(now: 100 * second)
        machine.moved(100)
        #expect(machine.violation(now: 106 * second, limits) == nil)
        #expect(machine.violation(now: 106 * second + second / 10, limits) == .response)
        machine.moved(100)
        #expect(machine.violation(now: 107 * second, limits) == nil)
        machine.requestEnded(now: 108 * second)
        #expect(machine.violation(now: 170 * second, limits) == nil)
    }

    @Test("a refused request has two seconds, however its body comes")
    func refusals() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        machine.requestRefused(now: second)
        machine.moved(1_000_000)
        #expect(machine.violation(now: 3 * second, limits) == nil)
        #expect(machine.violation(now: 3 * second + 1, limits) == .refusal)
    }

    @Test("a rate of 0 is no limit")
    func noRate() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let limits = TransferRateMachine.Limits(header: 1, bodyGrace: 1, bodyRate: 0)
        #expect(machine.violation(now: 1_000 * second, limits) == nil)
    }
}

@Suite struct SocketAddressTests {
    private func network(_ text: String) -> SocketAddress? {
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        if inet_pton(AF_INET6, text, &v6.sin6_addr) == 1 { return withUnsafeBytes(of: &v6, network) }
        inet_pton(AF_INET, text, &v4.sin_addr)
        return withUnsafeBytes(of: &v4, network)
    }

    private func network(_ bytes: UnsafeRawBufferPointer) -> SocketAddress? {
        SocketAddress(bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!)?.network
    }

    @Test("IPv4 counts by address, IPv4-mapped IPv6 as IPv4, and IPv6 by its /64")
    func networks() {
        #expect(network("10.0.0.7") == .ipv4(0x0A00_0007))
        #expect(network("::ffff:10.0.0.7") == network("10.0.0.7"))
        #expect(network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9"))
        #expect(network("2001:db8:1:2::1") != network("2001:db8:1:3::1"))
        #expect(network("::1") != network("10.0.0.7"))
        var unix = sockaddr_un()
        unix.sun_family = sa_family_t(AF_UNIX)
        #expect(withUnsafeBytes(of: &unix, network) == nil)
    }

    @Test("an address is read from its text and written as the same text", arguments: ["192.0.2.7", "2001:db8::7", "::1"])
    func text(_ text: String) { #expect(SocketAddress(text)?.text == text) }
}

@Suite struct HeaderFieldsTests {
    @Test(
        "repeated, contradictory and unknown lengths are ambiguous",
        arguments: [
            ([("Host", "a"), ("Content-Length", "5")], true),
            ([("host", "a"), ("transfer-encoding", "CHUNKED")], true),
            ([("Content-Type", "x"), ("Content-Lengthy", "5"), ("Content-Length", "5"), ("Hostess", "a"), ("TE", "gzip")], true),
            ([("Content-Length", "5"), ("content-length", "5")], false),
            ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], false),
            ([("Transfer-Encoding", "chunked"), ("Content-Length", "5")], false),
            ([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], false),
            ([("Transfer-Encoding", "gzip, chunked")], false), ([("Transfer-Encoding", "identity")], false),
            ([("Transfer-Encoding", "xchunked")], false), ([("Transfer-Encoding", "")], false),
            ([("Transfer-Encoding ", "chunked")], false), ([("Content-Length\t", "5")], false),
            ([("Host", "a"), ("Host", "b")], false),
        ])
    func ambiguity(fields: [(String, String)], isUnambiguous: Bool) {
        var header = HeaderFields(version: "HTTP/1.1")
        for (name, value) in fields { header.field(name, name.utf8.count, value) }
        #expect(header.isUnambiguous == isUnambiguous, "\(fields)")
    }

    @Test("HTTP/1.0 has no chunks")
    func oldVersion() {
        var header = HeaderFields(version: "HTTP/1.0")
        header.field("Content-Length", 14, "5")
        #expect(header.isUnambiguous)
        var chunked = HeaderFields(version: "HTTP/1.0")
        chunked.field("Transfer-Encoding", 17, "chunked")
        #expect(!chunked.isUnambiguous)
    }
}
