// The outcomes of a run's events: the expected table, counts and latencies.

import Records
import Synchronization

/// How many events had which outcome.
struct EventCounts: Sendable, Equatable {
    /// Good events that are certainly in the log.
    var acknowledged: UInt64 = 0
    /// Bad events with the expected outcome: in the log, to become dead letters, or refused over HTTP.
    var bad: UInt64 = 0
    /// Bad events that HTTP accepted.
    var badAccepted: UInt64 = 0
    /// Good events that were certainly refused or not sent, except for rate limits and load shedding.
    var failed: UInt64 = 0
    /// Responses 429.
    var limited: UInt64 = 0
    /// Responses 503 that state that nothing was written.
    var shed: UInt64 = 0
    /// Responses with `Retry-After`.
    var retryAfter: UInt64 = 0
    /// Events that may or may not be in the log.
    var unknown: UInt64 = 0
    /// Due events that were not sent, because too many waited before them.
    var dropped: UInt64 = 0

    /// Everything that is settled.
    var settled: UInt64 { acknowledged + bad + badAccepted + failed + limited + shed + unknown + dropped }
    /// Outcomes that count as errors.
    var errors: UInt64 { badAccepted + failed + unknown + dropped }
}

/// First and next offset of what a run wrote into one partition.
struct WrittenRange: Sendable, Equatable {
    /// The lowest offset.
    var first: Int64
    /// One more than the highest.
    var next: Int64
}

/// The outcome of an event.
enum EventOutcome: Sendable, Equatable {
    /// It is in the log. Over HTTP its position is not known.
    case acknowledged(Coordinate?)
    /// It is certainly not in the log, for a reason of its own.
    case failed
    /// It is certainly not in the log: a rate limit refused it.
    case limited
    /// It is certainly not in the log: load was shed.
    case shed
    /// A bad event was refused, as expected.
    case refused
    /// It may or may not be in the log.
    case unknown
}

/// The state of a run.
struct RunState: ~Copyable, Sendable {
    /// The expected table.
    var model: TableModel
    /// The counts.
    var counts = EventCounts()
    /// From when an event was due to its answer.
    var latencies = LatencyHistogram()
    /// The positions of bad events in the log.
    var badCoordinates: [Coordinate] = []
    /// How many bad events may or may not be in the log.
    var badUnknown = 0
    /// What the run wrote, by partition number.
    var written: [WrittenRange?] = []
    /// Errors by their text.
    var errors = ErrorCounts()
    /// Offsets that did not rise from one delivery report to the next.
    var disorder = Findings("offsets acknowledged out of order")

    /// Records an event's outcome. Outcomes of one key must come in the order of its events in the log.
    @inline(__always)
    mutating func settle(_ event: PlannedEvent, _ outcome: EventOutcome) {
        switch outcome {
        case .acknowledged(let coordinate):
            if let coordinate { note(coordinate) }
            if event.flaw == nil {
                counts.acknowledged += 1
                model.applied(event.operation, slot: event.slot, index: event.index)
            } else if let coordinate {
                counts.bad += 1
                badCoordinates.append(coordinate)
            } else {
                counts.badAccepted += 1
            }
        case .refused: counts.bad += 1
        case .failed: counts.failed += 1
        case .limited: counts.limited += 1
        case .shed: counts.shed += 1
        case .unknown:
            counts.unknown += 1
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

/// The state of a run with a lock: the producer's thread or the HTTP loop writes it, progress and verification read it.
final class RunLedger: Sendable {
    /// The state, locked for one response at a time. An uncontended lock costs a tenth of generating an event.
    let state: Mutex<RunState>

    /// A ledger for the keys of `plan`.
    init(_ plan: EventPlan) { state = Mutex(RunState(model: TableModel(keys: plan.keys))) }

    /// The current counts.
    var counts: EventCounts { state.withLock { $0.counts } }
}
