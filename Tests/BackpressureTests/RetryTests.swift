// Proves the bounds of the back-off and the transcript of the circuit breaker.

import Backpressure
import TestSupport
import Testing

@Suite struct RetryTests {
    @Test func backoffGrowsIsCappedAndKeepsAtLeastHalf() {
        var random = SeededRandom(seed: testSeed("backoff"))
        let backoff = Backoff(initial: 50, maximum: 10_000)
        for attempt in 0..<100 {
            let full = attempt < 8 ? 50 << UInt64(attempt) : 10_000
            let delay = backoff.delay(attempt: attempt, random: random.unit())
            #expect(delay >= full / 2 && delay <= full)
        }
        #expect(Backoff(initial: .max / 2, maximum: .max).delay(attempt: 50, random: 0.99) > .max / 4)
    }

    @Test func circuitOpensProbesOnceAndCloses() {
        var circuit = CircuitBreakerMachine(
            threshold: 3, backoff: Backoff(initial: 100, maximum: 1000), probeTimeout: 500)
        #expect(circuit.admissionAsked(now: 0) == .proceed)
        #expect(circuit.failed(now: 0, random: 0) == false)
        #expect(circuit.failed(now: 0, random: 0) == false)
        #expect(circuit.failed(now: 0, random: 0) == true)
        #expect(circuit.state == .open)
        #expect(circuit.failed(now: 1, random: 0) == false, "a call that was under way does not open it again")
        #expect(circuit.admissionAsked(now: 49) == .wait(until: 50))
        #expect(circuit.admissionAsked(now: 50) == .proceed)
        #expect(circuit.state == .halfOpen)
        #expect(circuit.admissionAsked(now: 51) == .wait(until: 151))
        #expect(circuit.failed(now: 60, random: 0) == true, "a failed probe opens it for longer")
        #expect(circuit.admissionAsked(now: 159) == .wait(until: 160))
        #expect(circuit.admissionAsked(now: 160) == .proceed)
        #expect(circuit.succeeded() == true)
        #expect(circuit.state == .closed)
        #expect(circuit.succeeded() == false)
    }

    @Test func aLostProbeIsReplaced() {
        var circuit = CircuitBreakerMachine(
            threshold: 1, backoff: Backoff(initial: 100, maximum: 100), probeTimeout: 500)
        #expect(circuit.failed(now: 0, random: 0) == true)
        #expect(circuit.admissionAsked(now: 100) == .proceed)
        #expect(circuit.admissionAsked(now: 599) != .proceed)
        #expect(circuit.admissionAsked(now: 600) == .proceed)
    }

    /// Callers read the clock before they take the lock, so one that comes later may have read it earlier.
    @Test func anEarlierTimeAfterALaterOneIsAccepted() {
        var circuit = CircuitBreakerMachine(
            threshold: 1, backoff: Backoff(initial: 100, maximum: 100), probeTimeout: 500)
        #expect(circuit.failed(now: 0, random: 0) == true)
        #expect(circuit.admissionAsked(now: 200) == .proceed)
        #expect(circuit.admissionAsked(now: 199) == .wait(until: 299))
    }
}
