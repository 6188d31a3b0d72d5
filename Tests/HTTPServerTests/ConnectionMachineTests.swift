// Transcripts of the machines that keep the limits of connections, and of the judgement of a request's framing.

import Glibc
import TestSupport
import Testing

@testable import HTTPServer

private let home = SocketAddress.ipv4(1)
private let afar = SocketAddress.ipv4(2)

private func opened(_ number: Int, evicting evicted: Int? = nil) -> ConnectionLimitMachine.Opened {
    ConnectionLimitMachine.Opened(number: number, evicted: evicted)
}

@Suite struct ConnectionLimitMachineTests {
    @Test("a connection beyond the limit waits, is served what is vital, and gets a place once one is free")
    func reserve() {
        var machine = ConnectionLimitMachine(.init(places: 2, perNetwork: 0, reserve: 2))
        #expect(machine.opened(from: home) == opened(0))
        #expect(machine.opened(from: home) == opened(1))
        #expect(machine.opened(from: home) == opened(2))
        #expect(machine.waiting == 1)
        #expect(machine.requested(0, isPriority: false) == true)
        #expect(machine.requested(2, isPriority: false) == false)
        #expect(machine.requested(2, isPriority: true) == true)
        machine.requestEnded(2)
        machine.closed(0)
        #expect(machine.requested(2, isPriority: false) == true)
        #expect(machine.waiting == 0)
        // The number of the closed one is used again, and there is no place for it.
        #expect(machine.opened(from: home) == opened(0))
        #expect(machine.requested(0, isPriority: false) == false)
    }

    @Test("the oldest that asks for nothing goes for a newer one; one that is being answered stays")
    func eviction() {
        var machine = ConnectionLimitMachine(.init(places: 1, perNetwork: 0, reserve: 2))
        for number in 0..<3 { #expect(machine.opened(from: home) == opened(number)) }
        #expect(machine.requested(1, isPriority: true) == true)
        machine.requestReceived(1)
        #expect(machine.opened(from: home) == opened(3, evicting: 2))
        #expect(machine.requested(2, isPriority: true) == false, "told to go")
        #expect(machine.requested(3, isPriority: true) == true)
        machine.requestReceived(3)
        // All of them are busy: the newcomer goes.
        #expect(machine.opened(from: home) == opened(4, evicting: 4))
        machine.requestEnded(1)
        #expect(machine.opened(from: home) == opened(5, evicting: 1))
        for number in [2, 4, 1] { machine.closed(number) }
        #expect(machine.waiting == 2)
    }

    @Test("who sends no end of a request, or takes none of an answer, can go as well")
    func holders() {
        var machine = ConnectionLimitMachine(.init(places: 1, perNetwork: 0, reserve: 2))
        for number in 0..<3 { #expect(machine.opened(from: home) == opened(number)) }
        for number in 1...2 { #expect(machine.requested(number, isPriority: true) == true) }
        machine.requestReceived(1)
        machine.answered(1)
        #expect(machine.opened(from: home) == opened(3, evicting: 2), "its body has not come")
        machine.requestReceived(3)
        #expect(machine.opened(from: home) == opened(4, evicting: 1), "its answer is not taken")
    }

    @Test("a crowd from one network pushes out its own, and not the one who is about to ask")
    func crowds() {
        var machine = ConnectionLimitMachine(.init(places: 1, perNetwork: 0, reserve: 3))
        #expect(machine.opened(from: home) == opened(0))
        #expect(machine.opened(from: afar) == opened(1))
        for number in 2...3 { #expect(machine.opened(from: home) == opened(number)) }
        #expect(machine.opened(from: home) == opened(4, evicting: 2))
        #expect(machine.opened(from: home) == opened(5, evicting: 3))
        #expect(machine.requested(1, isPriority: true) == true)
        // Of crowds of one size the oldest goes.
        var even = ConnectionLimitMachine(.init(places: 1, perNetwork: 0, reserve: 1))
        #expect(even.opened(from: home) == opened(0))
        #expect(even.opened(from: afar) == opened(1))
        #expect(even.opened(from: home) == opened(2, evicting: 1))
    }

    @Test("a network has its share and takes no place of another's")
    func networks() {
        var machine = ConnectionLimitMachine(.init(places: 10, perNetwork: 1, reserve: 2))
        #expect(machine.opened(from: home) == opened(0))
        #expect(machine.opened(from: home) == opened(1))
        #expect(machine.opened(from: afar) == opened(2))
        for number in [0, 2] { #expect(machine.requested(number, isPriority: false) == true) }
        #expect(machine.requested(1, isPriority: false) == false)
        machine.closed(2)
        #expect(machine.requested(1, isPriority: false) == false)
        machine.closed(0)
        #expect(machine.requested(1, isPriority: false) == true)
    }

    @Test("a changed limit takes no place away, and counts from the next request on")
    func changes() {
        var machine = ConnectionLimitMachine(.init(places: 2, perNetwork: 0, reserve: 2))
        for number in 0..<3 { #expect(machine.opened(from: home) == opened(number)) }
        machine.update(.init(places: 1, perNetwork: 0, reserve: 2))
        for number in [0, 1] { #expect(machine.requested(number, isPriority: false) == true) }
        machine.closed(0)
        #expect(machine.requested(2, isPriority: false) == false)
        machine.update(.init(places: 2, perNetwork: 0, reserve: 2))
        #expect(machine.requested(2, isPriority: false) == true)
    }

    @Test("whatever comes and goes, nobody has more than the limits say, and the counts come back to nothing")
    func model() {
        let seed = testSeed("places of connections")
        var random = SeededRandom(seed: seed)
        let limits = ConnectionLimitMachine.Limits(places: 20, perNetwork: 7, reserve: 5)
        var machine = ConnectionLimitMachine(limits)
        var open: [Int: (network: SocketAddress, isLeaving: Bool)] = [:]
        for _ in 0..<20_000 {
            if open.isEmpty || Int.random(in: 0..<3, using: &random) > 0, open.count < 60 {
                let network = SocketAddress.ipv4(UInt32.random(in: 0..<6, using: &random))
                let (number, evicted) = { ($0.number, $0.evicted) }(machine.opened(from: network))
                #expect(open[number] == nil, "seed \(seed)")
                open[number] = (network, false)
                if let evicted {
                    #expect(open[evicted]?.isLeaving == false, "seed \(seed)")
                    open[evicted]?.isLeaving = true
                }
            } else if let number = open.keys.sorted().randomElement(using: &random) {
                machine.closed(number)
                open[number] = nil
            }
            // Asked, everybody that may have a place has one.
            var seated: [SocketAddress: Int] = [:]
            for (number, one) in open.sorted(by: { $0.key < $1.key }) where machine.requested(number, isPriority: false) {
                #expect(!one.isLeaving, "seed \(seed)")
                seated[one.network, default: 0] += 1
            }
            #expect(
                seated.values.reduce(0, +) <= limits.places && (seated.values.max() ?? 0) <= limits.perNetwork, "seed \(seed)")
            #expect(machine.waiting <= limits.reserve, "seed \(seed)")
        }
        for number in open.keys { machine.closed(number) }
        #expect(machine.waiting == 0)
        for number in 0..<limits.perNetwork {
            let next = machine.opened(from: home).number
            #expect(machine.requested(next, isPriority: false) == true, "place \(number), seed \(seed)")
        }
    }
}

@Suite struct TransferRateMachineTests {
    private let second: UInt64 = 1_000_000_000
    private let limits = TransferRateMachine.Limits(
        header: 10_000_000_000, bodyGrace: 5_000_000_000, bodyRate: 100)
    private let idle: UInt64 = 60_000_000_000

    @Test("a header has its time from the beginning, and on a kept connection behind the idle time")
    func headers() {
        var machine = TransferRateMachine(openedAt: second, idle: idle)
        #expect(machine.fault(now: 11 * second, limits) == nil)
        #expect(machine.fault(now: 11 * second + 1, limits) == .header)
        machine.headerReceived(now: 5 * second, isBodyExpected: false)
        #expect(machine.fault(now: 500 * second, limits) == nil, "the time is ours")
        machine.requestEnded(now: 100 * second)
        #expect(machine.fault(now: 170 * second, limits) == nil)
        #expect(machine.fault(now: 170 * second + 1, limits) == .header)
    }

    @Test("a body has its grace, then it must keep up")
    func bodies() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: second, isBodyExpected: true)
        #expect(machine.fault(now: 6 * second, limits) == nil)
        #expect(machine.fault(now: 6 * second + 1, limits) == .body)
        machine.pieceReceived(100)
        #expect(machine.fault(now: 7 * second, limits) == nil)
        #expect(machine.fault(now: 7 * second + second / 10, limits) == .body)
        machine.pieceReceived(1_000)
        #expect(machine.fault(now: 17 * second, limits) == nil)
        #expect(machine.fault(now: 18 * second, limits) == .body)
        machine.requestReceived()
        #expect(machine.fault(now: 100 * second, limits) == nil)
    }

    @Test("while nobody reads a body its time stands still")
    func pauses() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        machine.paused(now: 4 * second)
        #expect(machine.fault(now: 400 * second, limits) == nil)
        machine.resumed(now: 400 * second)
        #expect(machine.fault(now: 401 * second, limits) == nil)
        #expect(machine.fault(now: 401 * second + 1, limits) == .body)
        // A pause of a request that is whole is none.
        machine.requestReceived()
        machine.paused(now: 500 * second)
        machine.resumed(now: 600 * second)
        #expect(machine.fault(now: 900 * second, limits) == nil)
    }

    @Test("while the loop stands still no client's time runs, and nobody gets more of it than before")
    func stalls() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.stalled(for: 60 * second, now: 61 * second)
        #expect(machine.fault(now: 70 * second, limits) == nil)
        #expect(machine.fault(now: 70 * second + 1, limits) == .header)
        machine.headerReceived(now: 100 * second, isBodyExpected: true)
        machine.stalled(for: 50 * second, now: 100 * second)
        #expect(machine.fault(now: 105 * second + 1, limits) == .body, "it began behind the stall")
        machine.paused(now: 102 * second)
        machine.stalled(for: 50 * second, now: 200 * second)
        machine.resumed(now: 202 * second)
        #expect(machine.fault(now: 205 * second, limits) == nil)
        #expect(machine.fault(now: 205 * second + 1, limits) == .body)
    }

    @Test("what came fast counts for as long as anybody may be silent, and no longer")
    func credit() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let fast = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 10_000)
        machine.pieceReceived(100_000_000)
        // Ten thousand seconds' worth; looked at as often as it is.
        #expect(machine.fault(now: 10 * second, fast) == nil)
        #expect(machine.fault(now: 70 * second, fast) == nil)
        #expect(machine.fault(now: 70 * second + second / 10, fast) == .body)
    }

    @Test("another rate counts from the last look on")
    func reload() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let none = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 0)
        let some = TransferRateMachine.Limits(header: 0, bodyGrace: 5 * second, bodyRate: 500)
        for time in 1...3_600 as ClosedRange<UInt64> {
            machine.pieceReceived(1_000)
            #expect(machine.fault(now: time * second, none) == nil)
        }
        #expect(machine.fault(now: 3_601 * second, some) == nil)
        #expect(machine.fault(now: 3_600 * second + 140 * second, some) == .body)
    }

    @Test("a long answer must be read as a body must be sent")
    func answers() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        machine.requestReceived()
        machine.answerBegan(now: 100 * second)
        machine.pieceSent(100)
        #expect(machine.fault(now: 106 * second, limits) == nil)
        #expect(machine.fault(now: 106 * second + second / 10, limits) == .answer)
        machine.pieceSent(100)
        #expect(machine.fault(now: 107 * second, limits) == nil)
        machine.requestEnded(now: 108 * second)
        #expect(machine.fault(now: 170 * second, limits) == nil)
    }

    @Test("a rate of nothing is no limit")
    func noRate() {
        var machine = TransferRateMachine(openedAt: 0, idle: idle)
        machine.headerReceived(now: 0, isBodyExpected: true)
        let limits = TransferRateMachine.Limits(header: 1, bodyGrace: 1, bodyRate: 0)
        #expect(machine.fault(now: 1_000 * second, limits) == nil)
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

@Suite struct FramingTests {
    @Test(
        "a request ends in one place or nowhere",
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
    func judged(fields: [(String, String)], isSound: Bool) {
        var framing = Framing(version: "HTTP/1.1")
        for (name, value) in fields { framing.field(name, value) }
        #expect(framing.isSound == isSound, "\(fields)")
    }

    @Test("HTTP/1.0 has no chunks")
    func oldVersion() {
        var framing = Framing(version: "HTTP/1.0")
        framing.field("Content-Length", "5")
        #expect(framing.isSound)
        var chunked = Framing(version: "HTTP/1.0")
        chunked.field("Transfer-Encoding", "chunked")
        #expect(!chunked.isSound)
    }
}
