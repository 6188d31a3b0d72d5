// Drives the HTTP load against a scripted server: order per key, an open loop, and what each answer counts as.

import Foundation
import Platform
import Synchronization
import TestSupport
import Testing

@testable import sluice_loadtest

@Suite struct HTTPLoadTests {
    /// Events in the order in which the server got them: id and number of the event.
    final class Received: Sendable {
        let events = Mutex<[(id: Int, index: Int)]>([])

        func note(_ body: String) {
            guard let object = (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any],
                let id = object["message_id"] as? Int, let data = object["data"] as? [String: String],
                let index = data["name"]?.split(separator: "-").last.flatMap({ Int($0) })
            else { return }
            events.withLock { $0.append((id, index)) }
        }
    }

    private let upserts = Mix(create: 0, update: 0, delete: 0, upsert: 1)

    private func run(
        _ plan: EventPlan, _ server: ScriptedServer, rate: Double, events: UInt64, connections: Int = 8, timeout: Double = 5,
        waitingLimit: Int = 100_000, batch: Int = 1
    ) throws -> (ledger: RunLedger, seconds: Double) {
        let ledger = RunLedger(plan)
        let load = try HTTPLoad(
            plan, ledger: ledger, url: "http://127.0.0.1:\(server.port)/send", connections: connections, timeout: timeout,
            batch: batch)
        let start = MonotonicClock.nanoseconds()
        var schedule = ScheduleMachine(start: start, rate: rate, events: events, duration: nil)
        try load.run(&schedule, waitingLimit: waitingLimit) { _, _ in .send }
        #expect(schedule.issued == events)
        #expect(ledger.counts.settled == events)
        return (ledger, Double(MonotonicClock.nanoseconds() - start) / 1e9)
    }

    @Test func everyEventArrivesOnceAndAKeysEventsInOrder() throws {
        let received = Received()
        let server = ScriptedServer { body in
            received.note(body)
            return .answer(200, body: "Message sent!", afterMilliseconds: UInt32.random(in: 0...2))
        }
        defer { server.stop() }
        let plan = EventPlan(seed: 21, keys: 20, skew: 1.2, mix: upserts)
        let (ledger, _) = try run(plan, server, rate: 0, events: 2000)
        #expect(ledger.counts.acknowledged == 2000)
        let events = received.events.withLock { $0 }
        #expect(Set(events.map(\.index)) == Set(0..<2000) && events.count == 2000)
        for (id, list) in Dictionary(grouping: events, by: \.id) {
            #expect(list.map(\.index) == list.map(\.index).sorted(), "events of key \(id) out of order")
        }
        ledger.state.withLock { state in
            for slot in 0..<20 {
                let last = events.last { $0.id == slot + 1 }?.index
                #expect(state.model[slot].writer == last.map(UInt64.init))
            }
        }
    }

    @Test func aLateAnswerDoesNotSlowTheSchedule() async throws {
        // One answer in ten takes 300 ms. A closed loop over 4 connections would need 200 * 30 ms / 4 = 1.5 s.
        let count = Atomic<Int>(0)
        let server = ScriptedServer { _ in
            let isSlow = count.add(1, ordering: .relaxed).newValue % 10 == 0
            return .answer(200, afterMilliseconds: isSlow ? 300 : 0)
        }
        defer { server.stop() }
        let plan = EventPlan(seed: 1, keys: 1_000_000, mix: upserts)
        let time = try await shortest(below: .milliseconds(1_400)) {
            let (ledger, seconds) = try run(plan, server, rate: 400, events: 200, connections: 64)
            #expect(ledger.counts.acknowledged == 200)
            #expect(ledger.state.withLock { $0.latencies.max ?? 0 } >= 300_000_000)
            return .seconds(seconds)
        }
        #expect(
            (.milliseconds(450) ..< .milliseconds(1_400)).contains(time),
            "0.5 s of schedule and one late answer took \(time)")
    }

    @Test func latencyCountsFromTheTimeAnEventWasDue() throws {
        // One connection, 20 ms an answer, 100 events a second: the queue grows, and the waiting must show in the latency.
        let server = ScriptedServer { _ in .answer(200, afterMilliseconds: 20) }
        defer { server.stop() }
        let plan = EventPlan(seed: 1, keys: 1_000_000, mix: upserts)
        let (ledger, _) = try run(plan, server, rate: 100, events: 40, connections: 1)
        let longest = ledger.state.withLock { $0.latencies.max ?? 0 }
        #expect(
            longest >= 300_000_000,
            "40 events that take 20 ms each and are due every 10 ms: the last waits 400 ms, not \(longest) ns")
    }

    @Test func whatWaitsTooLongIsDroppedAndCounted() throws {
        let server = ScriptedServer { _ in .answer(200, afterMilliseconds: 50) }
        defer { server.stop() }
        let plan = EventPlan(seed: 1, keys: 1_000_000, mix: upserts)
        let (ledger, _) = try run(plan, server, rate: 10_000, events: 100, connections: 1, waitingLimit: 5)
        #expect(ledger.counts.dropped >= 80 && ledger.counts.acknowledged >= 6)
        let rows = ledger.state.withLock { $0.model.rowCount }
        #expect(rows == Int(ledger.counts.acknowledged), "dropped events are not in the model")
    }

    @Test func refusalsAndLostConnectionsAreToldApart() throws {
        let count = Atomic<Int>(0)
        let received = Received()
        let server = ScriptedServer { body in
            received.note(body)
            return switch count.add(1, ordering: .relaxed).newValue % 5 {
            case 0: .answer(429, headers: ["Retry-After: 3"])
            case 1: .hangUp
            case 2: .answer(503, body: #"{"possibly_persisted": false}"#, headers: ["Retry-After: 1"])
            case 3: .answer(503, body: #"{"possibly_persisted": true}"#)
            default: .answer(200)
            }
        }
        defer { server.stop() }
        let plan = EventPlan(seed: 5, keys: 1_000_000, mix: upserts)
        let (ledger, _) = try run(plan, server, rate: 0, events: 200, connections: 4)
        let counts = ledger.counts
        #expect(counts.acknowledged == 40 && counts.limited == 40 && counts.shed == 40)
        #expect(counts.unknown == 80, "40 hang-ups and 40 answers 503 that may be written")
        #expect(counts.retryAfter == 80)
        #expect(
            received.events.withLock { $0.count } == 200, "nothing is sent twice, also not on a connection that turned out dead")
        ledger.state.withLock { state in
            #expect(state.model.rowCount == 40 && state.model.uncertainCount == 80)
        }
    }

    @Test func whatWasSentBeforeTheServerWentIsUnknown() throws {
        let count = Atomic<Int>(0)
        let shared = Mutex<ScriptedServer?>(nil)
        let server = ScriptedServer { _ in
            guard count.add(1, ordering: .relaxed).newValue > 2 else { return .answer(200) }
            // The request has been read; no server listens where libcurl would repeat it.
            shared.withLock { $0?.stop() }
            return .hangUp
        }
        shared.withLock { $0 = server }
        let plan = EventPlan(seed: 5, keys: 1_000_000, mix: upserts)
        let (ledger, _) = try run(plan, server, rate: 0, events: 5, connections: 1)
        #expect(ledger.counts.acknowledged == 2)
        #expect(ledger.counts.unknown == 1)
        #expect(ledger.counts.failed == 2, "never sent: the connection was refused")
    }

    @Test func theEventsOfABatchAreSettledOneByOne() throws {
        let received = Received()
        let largest = Mutex(0)
        let server = ScriptedServer { body in
            let lines = body.split(separator: "\n").map(String.init)
            largest.withLock { $0 = max($0, lines.count) }
            let results = lines.map { line in
                received.note(line)
                let isBad = (try? JSONSerialization.jsonObject(with: Data(line.utf8))) == nil
                return isBad ? #"{"status":400}"# : #"{"status":200}"#
            }
            let hasBad = results.contains { $0.contains("400") }
            return .answer(hasBad ? 207 : 200, body: #"{"results":[\#(results.joined(separator: ","))]}"#)
        }
        defer { server.stop() }
        let plan = EventPlan(seed: 9, keys: 300, mix: upserts, badFraction: 0.1)
        let (ledger, _) = try run(plan, server, rate: 0, events: 3000, connections: 3, batch: 50)
        // Of the bad events this server knows those only that are no JSON.
        #expect(ledger.counts.acknowledged + ledger.counts.bad + ledger.counts.badAccepted == 3000)
        #expect(ledger.counts.bad > 0 && ledger.counts.settled == 3000)
        #expect(ledger.counts.acknowledged > 2500)
        #expect((2...50).contains(largest.withLock { $0 }))
        let events = received.events.withLock { $0 }
        for (id, list) in Dictionary(grouping: events, by: \.id) {
            #expect(list.map(\.index) == list.map(\.index).sorted(), "events of key \(id) out of order")
        }
    }

    @Test func aRequestThatTimesOutIsUnknown() throws {
        let server = ScriptedServer { _ in .answer(200, afterMilliseconds: 10_000) }
        defer { server.stop() }
        let (ledger, seconds) = try run(
            EventPlan(seed: 1, keys: 100, mix: upserts), server, rate: 0, events: 3, connections: 3, timeout: 0.2)
        #expect(ledger.counts.unknown == 3 && seconds < 9)
    }

    @Test func badEventsMustBeRefused() throws {
        let server = ScriptedServer { body in
            (try? JSONSerialization.jsonObject(with: Data(body.utf8))) == nil ? .answer(400) : .answer(200)
        }
        defer { server.stop() }
        let plan = EventPlan(seed: 6, keys: 100, mix: upserts, badFraction: 0.5)
        let (ledger, _) = try run(plan, server, rate: 0, events: 400)
        let counts = ledger.counts
        // This server refuses broken JSON only: truncated and brokenElsewhere.
        let flaws = (0..<400).compactMap { plan.event($0).flaw }
        let refused = flaws.filter { $0 == .truncated || $0 == .brokenElsewhere }.count
        #expect(counts.bad == UInt64(refused) && counts.badAccepted == UInt64(flaws.count - refused) && counts.failed == 0)
    }
}
