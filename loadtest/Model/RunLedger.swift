// Owns what became of the events: the model, the counts and the latencies, fed by whoever hears the answers.

import Records
import Synchronization
import Telemetry

/// How many events had which fate.
struct Tally: Sendable, Equatable {
    /// Good events that are certainly in the log.
    var acknowledged: UInt64 = 0
    /// Bad events whose fate was the expected one: in the log and a dead letter to be, or refused over HTTP.
    var bad: UInt64 = 0
    /// Bad events that HTTP accepted.
    var badAccepted: UInt64 = 0
    /// Good events that were certainly refused or never sent out, limits and overload left out.
    var failed: UInt64 = 0
    /// Answers 429.
    var limited: UInt64 = 0
    /// Answers 503 that say nothing was written.
    var shed: UInt64 = 0
    /// Answers that named a time to come back (`Retry-After`).
    var retryAfter: UInt64 = 0
    /// Events that may be in the log and may not.
    var unknown: UInt64 = 0
    /// Due events that were never sent, because too many waited before them.
    var dropped: UInt64 = 0

    /// Everything that is settled.
    var settled: UInt64 { acknowledged + bad + badAccepted + failed + limited + shed + unknown + dropped }
    /// What an operator would call an error.
    var errors: UInt64 { badAccepted + failed + unknown + dropped }
}

/// First and next offset of what a run wrote into one partition.
struct WrittenRange: Sendable, Equatable {
    /// The lowest offset.
    var first: Int64
    /// One behind the highest.
    var next: Int64
}

/// What became of an event.
enum Fate: Sendable, Equatable {
    /// It is in the log; over HTTP nobody says where.
    case acknowledged(Coordinate?)
    /// It is certainly not in the log, for a reason of its own.
    case failed
    /// It is certainly not in the log: a limit was reached.
    case limited
    /// It is certainly not in the log: the receiver is overloaded.
    case shed
    /// A bad event was refused, as it should be.
    case refused
    /// Nobody knows.
    case unknown
}

/// What is known about a run so far.
struct RunState: ~Copyable, Sendable {
    /// The expected table.
    var model: TableModel
    /// The counts.
    var tally = Tally()
    /// From when an event was due to its answer.
    var latencies = LatencyHistogram()
    /// Where the bad events lie.
    var badCoordinates: [Coordinate] = []
    /// Bad events that may lie somewhere, and may not.
    var badUnknown = 0
    /// By partition number, what the run wrote.
    var written: [WrittenRange?] = []
    /// What went wrong, in words.
    var troubles = Troubles()
    /// Offsets that did not rise from one report to the next: the log is not what the run believes it wrote.
    var disorder = Findings("offsets acknowledged out of order")

    /// One event's fate. Fates of one key must come in the order in which its events lie in the log.
    @inline(__always)
    mutating func settle(_ event: PlannedEvent, _ fate: Fate) {
        switch fate {
        case .acknowledged(let coordinate):
            if let coordinate { note(coordinate) }
            if event.flaw == nil {
                tally.acknowledged += 1
                model.applied(event.operation, slot: event.slot, index: event.index)
            } else if let coordinate {
                tally.bad += 1
                badCoordinates.append(coordinate)
            } else {
                tally.badAccepted += 1
            }
        case .refused: tally.bad += 1
        case .failed: tally.failed += 1
        case .limited: tally.limited += 1
        case .shed: tally.shed += 1
        case .unknown:
            tally.unknown += 1
            if event.flaw == nil { model.outcomeUnknown(slot: event.slot) } else { badUnknown += 1 }
        }
    }

    @inline(__always)
    private mutating func note(_ coordinate: Coordinate) {
        let partition = Int(coordinate.partition)
        if partition >= written.count {
            written.append(contentsOf: repeatElement(nil, count: partition + 1 - written.count))
        }
        if let range = written[partition] {
            if coordinate.offset < range.next {
                disorder.add("\(coordinate) after \(range.next - 1)")
            }
            written[partition] = WrittenRange(
                first: min(range.first, coordinate.offset), next: max(range.next, coordinate.offset + 1))
        } else {
            written[partition] = WrittenRange(first: coordinate.offset, next: coordinate.offset + 1)
        }
    }
}

/// The state of a run behind a lock: answers come on the producer's thread, progress and verification read elsewhere.
final class RunLedger: Sendable {
    /// The state. Held for one answer at a time; a lock that nobody waits for costs a tenth of generating an event.
    let state: Mutex<RunState>

    /// A ledger for the keys of `plan`.
    init(_ plan: EventPlan) { state = Mutex(RunState(model: TableModel(keys: plan.keys))) }

    /// The counts of now.
    var tally: Tally { state.withLock { $0.tally } }
}
