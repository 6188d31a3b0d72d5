// One run: prepare, send, wait for the responses, verify, report.

import Foundation
import Platform
import Postgres
import Synchronization

/// One run. The sending loops occupy the main thread; waiting for the database or the producer happens on other threads.
@MainActor
struct Run: ~Copyable {
    private let options: Options
    private let plan: EventPlan
    private let ledger: RunLedger
    private var progress: ProgressMachine
    private var backlog: BacklogMachine?
    private var watch: LagWatch?

    /// Executes the run that `options` describe, and returns its exit code.
    static func make(_ options: Options) async throws(LoadError) -> Int32 {
        var database: Database?
        if !options.postgres.isEmpty { database = try await Database.connect(options) }
        let ledger = RunLedger(options.plan)
        var since = ""
        if options.verify, let database { since = try await database.begin() }
        let watch = options.target == .kafka ? database.map { LagWatch($0, ledger) } : nil
        let watching = Task { await watch?.watch() }
        defer { watching.cancel() }

        var run = Run(options, ledger, watch)
        var summary = try await run.send()
        watching.cancel()
        await watching.value

        let counts = ledger.counts
        var code: Int32 = counts.acknowledged + counts.bad > 0 || summary.produced == 0 ? 0 : 1
        print(summary.text)
        if options.verify, let database {
            let isTelling = options.progress
            let result = try await database.verify(ledger, since: since) { if isTelling { standardError($0) } }
            summary.verification = Summary.Verified(result)
            print(result.text(hasCapture: !options.captureTable.isEmpty))
            code = result.isVerified ? 0 : 1
        }
        try write(summary, options)
        await database?.connection.close()
        return code
    }

    private init(_ options: Options, _ ledger: RunLedger, _ watch: LagWatch?) {
        self.options = options
        self.ledger = ledger
        self.watch = watch
        plan = options.plan
        backlog = options.maxLag.map { BacklogMachine(limit: $0) }
        progress = ProgressMachine(start: MonotonicClock.nanoseconds())
    }

    /// Sends the load and waits for the last response.
    private mutating func send() async throws(LoadError) -> Summary {
        var schedule: ScheduleMachine
        let start: UInt64
        switch options.target {
        case .kafka:
            let load = try await KafkaLoad.start(options, ledger: ledger)
            start = MonotonicClock.nanoseconds()
            schedule = begin(at: start)
            try load.run(&schedule) { now, issued throws(LoadError) in try iteration(now, issued) }
            await load.finish()
        case .http:
            let load = try HTTPLoad(
                plan, ledger: ledger, url: options.url, connections: options.connections, timeout: options.httpTimeout,
                batch: options.batch, token: options.token, authorities: options.authorities)
            start = MonotonicClock.nanoseconds()
            schedule = begin(at: start)
            try load.run(&schedule, waitingLimit: options.waitingLimit) { now, issued throws(LoadError) in
                try iteration(now, issued)
            }
        }
        let end = MonotonicClock.nanoseconds()
        let issued = schedule.issued
        let last = progress.sampled(issued: issued, counts: ledger.counts, lag: lag(issued), at: end)
        if options.progress { standardError(last.line) }
        let held = Double(schedule.held) / 1e9
        let samples = progress.samples
        return ledger.state.withLock { state in
            Summary(
                options, produced: issued, seconds: Double(end - start) / 1e9, heldSeconds: held, samples: samples,
                state: state)
        }
    }

    private mutating func begin(at start: UInt64) -> ScheduleMachine {
        progress = ProgressMachine(start: start)
        return ScheduleMachine(
            start: start, rate: options.rate, events: options.events, duration: options.duration.map { UInt64($0 * 1e9) })
    }

    /// Once an iteration of a sending loop: samples, the backlog, and whether to stop.
    private mutating func iteration(_ now: UInt64, _ issued: UInt64) throws(LoadError) -> LoadRound {
        if progress.isDue(at: now) {
            let sample = progress.sampled(issued: issued, counts: ledger.counts, lag: lag(issued), at: now)
            if options.progress { standardError(sample.line) }
        }
        if Interrupt.wasRequested { return .end }
        guard backlog != nil, let lag = lag(issued) else { return .send }
        // Without the worker's offsets the load could neither be bounded nor end its wait.
        if let error = watch?.error { throw error }
        let round = backlog!.lagged(lag, at: now)
        if Double(backlog!.stuck(at: now)) > options.verifyTimeout * 1e9 {
            throw LoadError(
                .postgres,
                "the worker of group \(options.group) has applied nothing for \(options.verifyTimeout) s "
                    + "and is \(lag) events behind: "
                    + "does it run, and is it the right --group? (--verify-timeout sets how long to wait)")
        }
        return round
    }

    /// Issued events that the worker has not applied.
    private func lag(_ issued: UInt64) -> UInt64? {
        guard let watch else { return nil }
        let counts = ledger.counts
        let gone = counts.failed + counts.unknown + counts.dropped + watch.applied
        return issued > gone ? issued - gone : 0
    }

    private static func write(_ summary: Summary, _ options: Options) throws(LoadError) {
        do {
            if options.json == "-" {
                print(String(decoding: try summary.json(), as: UTF8.self))
            } else if let path = options.json {
                try summary.json().write(to: URL(fileURLWithPath: path))
            }
            if let path = options.report {
                try Data(HTMLReport(summary: summary).text.utf8).write(to: URL(fileURLWithPath: path))
            }
        } catch {
            throw LoadError(.file, "the report could not be written: \(error.localizedDescription)")
        }
    }
}

/// One line on standard error, in one write.
func standardError(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }
