// Runs the load over HTTP: one POST an event or a batch, many connections, one thread, a schedule that no answer slows.

import CCurl
import Synchronization
import Telemetry

/// The HTTP side of a run. ``run(progress:)`` keeps its thread for the whole run.
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
    ///   - connections: most requests under way at a time.
    ///   - timeout: seconds for one request.
    ///   - batch: most events in one request. A request takes what is ready, no two events of one key.
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

    /// Sends what the schedule says until it ends, then waits for the last answers.
    ///
    /// - Parameters:
    ///   - waitingLimit: due events that may wait for a connection or their key; what comes due beyond is dropped and counted.
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
                if now >= ending { ledger.state.withLock { $0.tally.dropped += UInt64(dispatch.abandoned()) } }
            }
            // Without a schedule the next thing to do is always an answer; with one, the next due event may come first.
            loop.wait(until: ending ?? schedule.nextDue())
            now = MonotonicClock.nanoseconds()
            while let done = loop.nextDone() { settle(HTTPTransfer.of(done.easy), done.code, &dispatch, now) }
        }
    }

    private func issue(_ schedule: inout ScheduleMachine, _ dispatch: inout DispatchMachine, _ now: UInt64) {
        var due = schedule.due(at: now)
        // As fast as it goes: as many as there are connections, and a few behind them in case their keys are busy.
        if schedule.isUnpaced { due = min(due, UInt64(max(0, dispatch.idle + transfers.count - dispatch.waiting))) }
        // An iteration issues at most this many, so that a late one does not make the answers wait.
        for _ in 0..<min(due, 4096) {
            let (index, dueAt) = schedule.issue(at: now)
            if !dispatch.becameDue(DueEvent(event: plan.event(index), dueAt: dueAt)) {
                ledger.state.withLock { $0.tally.dropped += 1 }
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
                // Behind the last result stands what the server did not read.
                let answer = parts.map { $0[min(position, $0.count - 1)] } ?? whole
                let fate = answer.fate(isBad: due.event.flaw != nil)
                state.settle(due.event, fate)
                if case .acknowledged = fate { state.latencies.add(nanoseconds: now - min(now, due.dueAt)) }
                if let trouble = answer.trouble(fate) { state.troubles.add(trouble) }
            }
            if retryAfter > 0 { state.tally.retryAfter += 1 }
        }
        transfer.forget()
        free.append(transfer)
    }

    deinit {
        // libcurl wants its transfers taken out before they are freed.
        for transfer in transfers { loop.remove(transfer.easy) }
    }
}
