// Sends the load over HTTP: one POST an event or a batch, many connections, one thread.

import CCurl
import Platform
import Synchronization

/// A run over HTTP. ``run(_:waitingLimit:eachIteration:)`` occupies its thread for the whole run.
final class HTTPLoad {
    private let plan: EventPlan
    private let ledger: RunLedger
    private let loop: CurlLoop
    private let headers: CurlListHandle
    private var transfers: [HTTPTransfer] = []
    private var free: [HTTPTransfer] = []
    private let batch: Int
    private let settleTimeout: Double

    /// - Parameters:
    ///   - url: where events are posted, `http://127.0.0.1:8000/send`.
    ///   - connections: how many requests are under way at most.
    ///   - timeout: seconds for one request.
    ///   - batch: how many events a request has at most. A request takes what is ready, no two events of one key.
    ///   - token: bearer token of every request; empty: none.
    ///   - authorities: PEM file of the authorities to trust; empty: the system's.
    init(
        _ plan: EventPlan, ledger: RunLedger, url: String, connections: Int, timeout: Double, batch: Int = 1, token: String = "",
        authorities: String = ""
    ) throws(LoadError) {
        self.batch = batch
        self.plan = plan
        self.ledger = ledger
        settleTimeout = timeout + 1
        loop = try CurlLoop(connections: connections)
        headers = CurlListHandle(
            ["Content-Type: application/\(batch == 1 ? "json" : "x-ndjson")", "Expect:"]
                + (token.isEmpty ? [] : ["Authorization: Bearer \(token)"]))
        for _ in 0..<connections {
            transfers.append(
                try HTTPTransfer(plan, url: url, timeout: timeout, headers: headers, batch: batch, authorities: authorities))
        }
        free = transfers
    }

    /// Sends events as they become due until the schedule ends, then waits for the last responses.
    ///
    /// - Parameters:
    ///   - waitingLimit: due events that may wait for a connection or their key; further due events are dropped and counted.
    ///   - iteration: called in every iteration of the loop, with the time and the number of events issued.
    func run(
        _ schedule: inout ScheduleMachine, waitingLimit: Int,
        iteration: (_ now: UInt64, _ issued: UInt64) throws(LoadError) -> LoadRound
    ) throws(LoadError) {
        var dispatch = DispatchMachine(connections: transfers.count * batch, limit: waitingLimit)
        var ending: UInt64?
        while true {
            var now = MonotonicClock.nanoseconds()
            let goesOn = try iteration(now, schedule.issued)
            if ending == nil {
                issue(&schedule, &dispatch, now)
                if goesOn == .end || schedule.isFinished(at: now) { ending = now + UInt64(settleTimeout * 1e9) }
            }
            while !free.isEmpty, let first = dispatch.next() {
                let transfer = free.removeLast()
                transfer.add(first)
                while transfer.due.count < batch, let further = dispatch.next() { transfer.add(further) }
                try transfer.start(on: loop)
            }
            if let ending {
                if dispatch.isEmpty { break }
                if now >= ending { ledger.state.withLock { $0.counts.dropped += UInt64(dispatch.abandoned()) } }
            }
            // Without a schedule only a response can be next; with one, also the next due event.
            loop.wait(until: ending ?? schedule.nextDue())
            now = MonotonicClock.nanoseconds()
            while let done = loop.nextDone() { settle(HTTPTransfer.of(done.easy), done.code, &dispatch, now) }
        }
    }

    private func issue(_ schedule: inout ScheduleMachine, _ dispatch: inout DispatchMachine, _ now: UInt64) {
        var due = schedule.due(at: now)
        // Without a rate: one event for each connection, and a few more in case their keys are busy.
        if schedule.hasNoRate { due = min(due, UInt64(max(0, dispatch.idle + transfers.count - dispatch.waiting))) }
        // An iteration issues at most this many, so that a late one does not make the answers wait.
        for _ in 0..<min(due, 4096) {
            let (index, dueAt) = schedule.issue(at: now)
            if !dispatch.becameDue(DueEvent(event: plan.event(index), dueAt: dueAt)) {
                ledger.state.withLock { $0.counts.dropped += 1 }
            }
        }
    }

    private func settle(_ transfer: HTTPTransfer, _ code: CURLcode, _ dispatch: inout DispatchMachine, _ now: UInt64) {
        guard !transfer.due.isEmpty else { return }
        loop.remove(transfer.easy)
        let (whole, retryAfter) = transfer.finish(code)
        let parts = transfer.due.count > 1 || batch > 1 ? whole.parts : nil
        ledger.state.withLock { state in
            for (position, due) in transfer.due.enumerated() {
                dispatch.answered(slot: due.event.slot)
                // Events after the last result were not read by the server.
                let answer = parts.map { $0[min(position, $0.count - 1)] } ?? whole
                let outcome = answer.outcome(isBad: due.event.flaw != nil)
                state.settle(due.event, outcome)
                if case .acknowledged = outcome { state.latencies.add(nanoseconds: now - min(now, due.dueAt)) }
                if let problem = answer.problem(outcome) { state.errors.add(problem) }
            }
            if retryAfter > 0 { state.counts.retryAfter += 1 }
        }
        transfer.forget()
        free.append(transfer)
    }

    deinit {
        // libcurl requires that transfers are removed before they are freed.
        for transfer in transfers { loop.remove(transfer.easy) }
    }
}
