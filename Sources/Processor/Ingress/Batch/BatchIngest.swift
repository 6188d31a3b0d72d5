// Owns one request with many events: reads its body as it arrives, and answers when the result of every event is known.

import HTTPServer
import Kafka
import Platform
import Records
import Synchronization

/// The reader of a batch's body. It keeps the bytes of an event that two pieces share, and one byte for each result.
///
/// Here: the body, waiting, and the end. `BatchIngest+Events.swift`: what becomes of each event.
final class BatchIngest: HTTPBodyReader, @unchecked Sendable {
    // Licence for @unchecked: until ``close()`` everything belongs to the HTTP loop's thread, except for the results of produced events
    // (see ``BatchResults``) and `unsettled`, an atomic. After `close()` only the thread that brings `unsettled` to zero uses the rest.

    /// Most events that are checked before other connections are served: a piece is bounded in bytes, but an event may have only two.
    private static let eventsInIteration = 256
    /// Bytes that belong to no event are charged in steps of this size.
    private static let skippedBytes = 16 << 10
    /// Most events after the first refused one that have a result of their own: each is an object in the response.
    private static let mostRefused = 100_000

    /// How long a waiting batch is not read. At full speed thousands of events are acknowledged in this time. The more batches wait, the
    /// longer it is, so that all of them together cost the same.
    private var pause: Duration { .microseconds(max(5000, 50 * eventProducer.waitingBatches)) }

    let eventProducer: EventProducer
    let format: BatchFormat
    /// The client's; `nil`: without limits.
    let quota: ClientQuota?
    let eventBytes: Int
    let mostEvents: Int
    let results: BatchResults
    var carry = ByteBuffer()
    /// Bytes of `carry` that were taken from the budget.
    var carried = 0
    /// Bytes that were read and not charged yet: of an incomplete event, and of no event.
    var uncharged = 0
    /// The incomplete event is too large; its bytes are not kept.
    var isOversized = false
    /// The rest of the body is not read.
    private(set) var isDone = false
    var produced = 0
    /// Retains this object until every produced event is reported: the records' tokens point to results and retain nothing.
    var hold: Unmanaged<BatchIngest>?
    private let shedding: IngressShedding?
    private var machine: BoundaryMachine
    /// Waits until the producer's queue takes another event.
    private var queueWait = BatchWait()
    /// Waits while load shedding suspends batches.
    private var sheddingWait = BatchWait()
    private var exchange: HTTPExchange?
    /// Before ``close()``: minus the number of reported events. After it: the number of produced events that are not reported.
    private let unsettled = Atomic(0)

    init(_ format: BatchFormat, eventProducer: EventProducer, quota: ClientQuota?, shedding: IngressShedding?) {
        self.eventProducer = eventProducer
        self.format = format
        self.quota = quota
        self.shedding = shedding
        eventBytes = eventProducer.bounds.eventBytes
        mostEvents = eventProducer.bounds.events
        results = BatchResults(budget: eventProducer.budget)
        machine = BoundaryMachine(format)
    }

    // MARK: The body

    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        let binding = binding()
        if isSuspended() { return .later(taken: 0, within: max(pause, .milliseconds(10))) }
        var at = 0
        // Single events that arrived earlier do not wait until this batch has been read.
        eventProducer.produceGathered()
        let before = results.count
        while !isDone, at < piece.count {
            if let binding, mustWait(for: binding) { return later(at, within: pause) }
            guard results.count - before < Self.eventsInIteration else { return later(at, within: .zero) }
            at = takeRun(of: piece, from: at, binding)
            if results.refused >= Self.mostRefused { endRefused() }
        }
        chargeSkipped(at)
        return isDone ? .enough : .more
    }

    private func later(_ taken: Int, within time: Duration) -> HTTPBodyDemand {
        chargeSkipped(taken)
        return .later(taken: taken, within: time)
    }

    /// So many bytes of a piece were read. Those that belong to no event are charged as well.
    private func chargeSkipped(_ read: Int) {
        uncharged += read
        let skipped = uncharged - carry.count
        guard !isDone, results.refusal == nil, skipped >= Self.skippedBytes else { return }
        uncharged = carry.count
        guard let refusal = quota?.charge(events: 0, bytes: skipped) else { return }
        if refusal.status == 429 { results.refusal = refusal } else { end(refusal) }
    }

    /// Stops reading after ``mostRefused`` events that were refused for the same reason.
    private func endRefused() {
        guard let refusal = results.refusal else { return }
        var rest = refusal
        rest.detail += " What follows was not read."
        end(rest)
    }

    /// Takes the complete events of a piece, at most a group of the producer's, and the step after them.
    /// - Returns: the position in the piece where reading continues.
    private func takeRun(of piece: UnsafeRawBufferPointer, from start: Int, _ binding: EventProducer.ProducerBinding?) -> Int {
        let most = binding?.producer.groupRecords ?? 1
        return withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: most) { events in
            var (at, count, bytes) = (start, 0, 0)
            while at < piece.count, count < events.count {
                let step = machine.pieceRead(piece, from: at)
                if case .event(let range, let next) = step, let binding, results.refusal == nil, carry.count == 0, !isOversized,
                    range.count <= eventBytes, piece.count - range.upperBound >= ByteBuffer.padding,
                    results.count + count < mostEvents
                {
                    let event = trimmed(UnsafeRawBufferPointer(rebasing: piece[range]))
                    events.initializeElement(at: count, to: event)
                    (at, count, bytes) = (next, count + 1, bytes + event.count)
                    if at == piece.count || count == events.count {
                        take(UnsafeBufferPointer(rebasing: events[..<count]), bytes, binding)
                        return at
                    }
                    continue
                }
                if count > 0, let binding { take(UnsafeBufferPointer(rebasing: events[..<count]), bytes, binding) }
                return isDone ? at : take(step, of: piece, at, binding)
            }
            return at
        }
    }

    /// Takes one step of the boundary machine.
    private func take(
        _ step: BoundaryMachine.Step, of piece: UnsafeRawBufferPointer, _ at: Int, _ binding: EventProducer.ProducerBinding?
    ) -> Int {
        switch step {
        case .nothing:
            return piece.count
        case .part(let range):
            keep(UnsafeRawBufferPointer(rebasing: piece[range]))
            return piece.count
        case .event(let range, let next):
            take(UnsafeRawBufferPointer(rebasing: piece[range]), readableAfter: piece.count - range.upperBound, binding)
            return next
        case .broken(let fault):
            end(malformed(fault.rawValue))
            return at
        }
    }

    func ended(_ end: HTTPBodyEnd, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        if !isDone {
            switch (end, machine.bodyEnded()) {
            case (.tooLong(let limit), _):
                self.end(
                    ProblemDetails(
                        status: 413,
                        detail: "A body may have at most \(limit) bytes (http.max_body_bytes); what follows was not read."))
            case (.undecodable, _):
                self.end(ProblemDetails(status: 400, detail: "What follows is not what Content-Encoding says, or is missing."))
            case (.complete, .complete):
                break
            case (.complete, .event):
                let binding = binding()
                if let binding, mustWait(for: binding) { return .later(taken: 0, within: pause) }
                take(UnsafeRawBufferPointer(start: nil, count: 0), readableAfter: 0, binding)
            case (.complete, .broken(let fault)):
                self.end(malformed(fault.rawValue))
            }
        }
        self.exchange = exchange
        // The first refused event was told when it alone would pass; the answer is for all refused events together.
        if results.refusal?.status == 429, let whole = quota?.preview(events: results.refused, bytes: results.refusedBytes),
            whole.status == 429
        {
            results.refusal = whole
        }
        close()
        return .more
    }

    func abandoned() { close() }

    /// The producer. Where there is none, the rest of the batch is refused.
    private func binding() -> EventProducer.ProducerBinding? {
        guard results.refusal == nil else { return nil }
        do throws(ProblemDetails) {
            return try eventProducer.binding()
        } catch {
            results.refusal = error
            return nil
        }
    }

    /// Whether this piece waits because load shedding suspends batches.
    private func isSuspended() -> Bool {
        guard !isDone, results.refusal == nil, let shedding else { return false }
        let isHeld = shedding.isHolding(at: MonotonicClock.nanoseconds())
        return waits(&sheddingWait, while: isHeld) { shedding.refusalOfRest() }
    }

    /// Whether the batch waits for the producer's queue.
    private func mustWait(for binding: EventProducer.ProducerBinding) -> Bool {
        let isFull = results.refusal == nil && !binding.producer.hasRoom(forBytes: eventBytes)
        return waits(&queueWait, while: isFull) { KafkaAnswers.problem(.queueFull) }
    }

    /// Continues or ends a wait. After ``EventProducer/waitLimit`` `refusal` is the answer to all events that follow, not to the next one
    /// alone: a later event of its key must not overtake it.
    private func waits(_ wait: inout BatchWait, while isHeld: Bool, _ refusal: () -> ProblemDetails?) -> Bool {
        if isHeld {
            if wait.continues(at: MonotonicClock.nanoseconds(), eventProducer) { return true }
            results.refusal = refusal()
            if results.refusal == nil { return true }
        }
        wait.end(eventProducer)
        return false
    }

    private func malformed(_ sentence: String) -> ProblemDetails {
        .invalidEvent(reason: "malformed_json", detail: "\(sentence) What follows was not read.")
    }

    /// Stops reading; the rest of the body gets one result.
    func end(_ problem: ProblemDetails) {
        results.rest = problem
        isDone = true
    }

    // MARK: The end

    /// Writes the result of a produced event. ``settle(_:_:)`` must tell the batch of each one that was reported.
    /// - Returns: its batch, unretained.
    @discardableResult
    static func note(_ token: UInt, _ code: UInt8) -> UnsafeMutableRawPointer {
        let cell = UnsafeMutableRawPointer(bitPattern: token & ~BatchResults.tokenMark)!
        cell.storeBytes(of: code, as: UInt8.self)
        return BatchResults.owner(of: cell)
    }

    /// `events` produced events of a batch were reported. Called on the producer's report thread.
    static func settle(_ batch: UnsafeMutableRawPointer, _ events: Int) {
        let batch = Unmanaged<BatchIngest>.fromOpaque(batch)
        // Below zero until `close()` has added the number of produced events, so zero is the end. If this was not the last report, the
        // batch may be freed after the subtraction: no reference is held for a single report.
        let isLast = batch._withUnsafeGuaranteedRef {
            $0.unsettled.subtract(events, ordering: .acquiringAndReleasing).newValue == 0
        }
        if isLast { batch.takeUnretainedValue().settled() }
    }

    /// No more events come.
    private func close() {
        isDone = true
        carry.shrink(to: 0)
        eventProducer.budget.give(carried)
        carried = 0
        queueWait.end(eventProducer)
        sheddingWait.end(eventProducer)
        if unsettled.add(produced, ordering: .acquiringAndReleasing).newValue == 0 { settled() }
    }

    /// Every result is known: counts the events, and answers unless the client has gone.
    private func settled() {
        let answer = BatchAnswer(results, eventProducer.results)
        answer.count(in: eventProducer.counters)
        exchange?.respond(answer.response)
        exchange = nil
        let hold = hold
        self.hold = nil
        hold?.release()
    }
}
