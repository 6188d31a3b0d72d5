// Owns one request with many events: reads its body as it arrives, and answers when the result of every event is known.

import HTTPServer
import Kafka
import Platform
import Records
import Synchronization

/// The reader of a batch's body: ``EventSplitter`` finds the events, ``BatchAdmission`` decides about each; here they are checked and
/// produced, the batch waits, and its results are settled.
final class BatchIngest: HTTPBodyReader, @unchecked Sendable {
    // Licence for @unchecked: until ``close()`` everything belongs to the HTTP loop's thread, except for the results of produced events
    // (see ``BatchResults``) and `unsettled`, an atomic. After `close()` only the thread that brings `unsettled` to zero uses the rest.

    /// Most events that are checked before other connections are served: a piece is bounded in bytes, but an event may have only two.
    private static let eventsInIteration = 256

    /// How long a waiting batch is not read. At full speed thousands of events are acknowledged in this time. The more batches wait, the
    /// longer it is, so that all of them together cost the same.
    private var pause: Duration { .microseconds(max(5000, 50 * eventProducer.waitingBatches)) }

    private let eventProducer: EventProducer
    private let shedding: IngressShedding?
    private let results: BatchResults
    private let eventBytes: Int
    private let headers: [ProducerHeader]
    private var splitter: EventSplitter?
    private var admission: BatchAdmission
    /// When it began to wait, in monotonic nanoseconds; `nil`: it does not wait. Counted in ``EventProducer/waitingBatches``.
    private var waitingSince: UInt64?
    private var produced = 0
    /// Retains this object until every produced event is reported: the records' tokens point to results and retain nothing.
    private var hold: Unmanaged<BatchIngest>?
    private var exchange: HTTPExchange?
    /// Before ``close()``: minus the number of reported events. After it: the number of produced events that are not reported.
    private let unsettled = Atomic(0)

    init(_ format: BatchFormat, _ request: SendRequest, eventProducer: EventProducer, shedding: IngressShedding?) {
        self.eventProducer = eventProducer
        self.shedding = shedding
        eventBytes = request.bounds.eventBytes
        headers = request.headers
        results = BatchResults(budget: eventProducer.budget)
        splitter = EventSplitter(format, mark: request.markBefore, eventBytes: eventBytes, budget: eventProducer.budget)
        admission = BatchAdmission(format, request, results)
        results.owner = Unmanaged.passUnretained(self).toOpaque()
    }

    // MARK: The body

    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        let binding = binding()
        // Single events that arrived earlier do not wait until this batch has been read.
        eventProducer.produceGathered()
        var at = 0
        let before = results.count
        while !admission.isDone, at < piece.count {
            if mustWait(for: binding) { return later(at, within: pause) }
            guard results.count - before < Self.eventsInIteration else { return later(at, within: .zero) }
            takeRun(of: piece, &at, binding)
        }
        bytesTaken(at)
        return admission.isDone ? .enough : .more
    }

    private func later(_ taken: Int, within time: Duration) -> HTTPBodyDemand {
        bytesTaken(taken)
        return .later(taken: taken, within: time)
    }

    private func bytesTaken(_ count: Int) { admission.bytesTaken(count, kept: splitter?.keptBytes ?? 0) }

    /// Takes the complete events of a piece from `at` on, at most a group of the producer's, and the step after them.
    private func takeRun(of piece: UnsafeRawBufferPointer, _ at: inout Int, _ binding: EventProducer.ProducerBinding?) {
        let most = min(binding?.producer.groupRecords ?? 1, admission.room)
        withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: most) { events in
            var count = 0
            while at < piece.count, count < most, let step = splitter?.next(piece, &at) {
                if case .event(let event, isCopied: false) = step {
                    events.initializeElement(at: count, to: event)
                    count += 1
                    continue
                }
                // What follows comes after the events before it.
                take(UnsafeBufferPointer(rebasing: events[..<count]), binding)
                return take(step, binding)
            }
            take(UnsafeBufferPointer(rebasing: events[..<count]), binding)
        }
    }

    private func take(_ step: EventSplitter.Step, _ binding: EventProducer.ProducerBinding?) {
        switch step {
        case .nothing: break
        case .event(let event, _): withUnsafePointer(to: event) { take(UnsafeBufferPointer(start: $0, count: 1), binding) }
        case .oversized: admission.oversized()
        case .broken(let fault): admission.broken(fault)
        case .noMemory: admission.noMemory()
        }
    }

    /// Checks and produces complete events, at most ``ProducerGroup/capacity``.
    private func take(_ events: UnsafeBufferPointer<UnsafeRawBufferPointer>, _ binding: EventProducer.ProducerBinding?) {
        let areCharged = admission.chargeTogether(events)
        for event in events where admission.admits(bytes: event.count, isCharged: areCharged) {
            if let fault = eventProducer.check(event, headers) {
                admission.faulted(
                    .invalidEvent(fault, in: event), ResultTable.code(ofReason: fault.reason),
                    isMalformed: fault.isMalformed)
            } else if let cell = admission.produced() {
                eventProducer.group.append(
                    key: eventProducer.checkedKey, value: event, token: UInt(bitPattern: cell) | BatchResults.tokenMark)
            }
        }
        guard let binding, eventProducer.group.count > 0 else { return }
        eventProducer.group.headers = headers
        if hold == nil { hold = .passRetained(self) }
        produced += eventProducer.group.count
        binding.producer.produce(binding.topic, &eventProducer.group) { token, error in
            produced -= 1
            eventProducer.failures.failed(error)
            BatchIngest.note(token, ResultTable.code(of: error))
            // An event that is too large for the broker stops no other.
            if error.code != .recordTooLarge { admission.refuseRest(KafkaAnswers.problem(error)) }
        }
    }

    func ended(_ end: HTTPBodyEnd, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        switch end {
        case .tooLong(let limit):
            admission.tooLong(limit)
        case .undecodable:
            admission.undecodable()
        case .complete where !admission.isDone:
            let binding = binding()
            if mustWait(for: binding) { return .later(taken: 0, within: pause) }
            if let step = splitter?.bodyEnded() { take(step, binding) }
        case .complete:
            break
        }
        self.exchange = exchange
        admission.bodyEnded()
        close()
        return .more
    }

    func abandoned() { close() }

    /// The producer. Where there is none, the rest of the batch is refused.
    private func binding() -> EventProducer.ProducerBinding? {
        guard admission.isOpen else { return nil }
        do throws(ProblemDetails) {
            return try eventProducer.binding()
        } catch {
            admission.refuseRest(error)
            return nil
        }
    }

    /// Whether the batch waits, for the producer's queue or because load shedding suspends batches. After ``EventProducer/waitLimit`` the
    /// rest of its events is refused.
    private func mustWait(for binding: EventProducer.ProducerBinding?) -> Bool {
        guard admission.isOpen, let binding else { return endWait() }
        let now = MonotonicClock.nanoseconds()
        let isSuspended = shedding?.isHolding(at: now) ?? false
        guard isSuspended || !binding.producer.hasRoom(forBytes: eventBytes) else { return endWait() }
        if waitingSince == nil { eventProducer.waitingBatches += 1 }
        let since = waitingSince ?? now
        waitingSince = since
        guard .nanoseconds(now - since) >= eventProducer.waitLimit else { return true }
        guard let problem = isSuspended ? shedding?.refusalOfRest() : KafkaAnswers.problem(.queueFull) else { return true }
        admission.refuseRest(problem)
        return endWait()
    }

    /// - Returns: `false`.
    @discardableResult
    private func endWait() -> Bool {
        if waitingSince != nil { eventProducer.waitingBatches -= 1 }
        waitingSince = nil
        return false
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
        splitter = nil
        endWait()
        if unsettled.add(produced, ordering: .acquiringAndReleasing).newValue == 0 { settled() }
    }

    /// Every result is known: counts the events, and answers unless the client has gone.
    private func settled() {
        let answer = BatchAnswer(results)
        answer.count(in: eventProducer.counters)
        exchange?.respond(answer.response)
        exchange = nil
        let hold = hold
        self.hold = nil
        hold?.release()
    }
}
