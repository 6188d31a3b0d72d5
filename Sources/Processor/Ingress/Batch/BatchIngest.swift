// Owns one request with many events: takes them from the body as it arrives, and answers when the last one is settled.

import HTTPServer
import Kafka
import Records
import Synchronization
import Telemetry

/// The reader of a batch's body. It keeps the event that a piece cuts in two and one byte a result, and nothing else.
final class BatchIngest: HTTPBodyReader, @unchecked Sendable {
    // Licence for @unchecked: until ``close()`` everything belongs to the HTTP loop's thread, but for the results of produced events
    // (see ``BatchResults``) and `unsettled`, an atomic. Whoever brings `unsettled` to zero behind `close()` is alone with the rest.

    /// Most events that are checked before other connections have their turn: pieces are bounded in bytes, but an event may have two.
    private static let turn = 256
    /// Bytes between events, or of what is too large to be one, that are charged together.
    private static let skippedBytes = 16 << 10
    /// Most events behind the first refused one that have a result of their own: each is a sentence in the answer.
    private static let mostRefused = 100_000

    /// How long a batch that waits does not look whether there is room: by then thousands of acknowledgements have come at full speed.
    /// Where hundreds wait, each looks less often, so that looking costs the same.
    private var pause: Duration { .microseconds(max(5000, 50 * gate.waitingBatches)) }

    private let gate: EventProducer
    private let format: BatchFormat
    private let admission: any EventAdmission
    private let shedding: IngressShedding?
    private let eventBytes: Int
    private let mostEvents: Int
    private let results: BatchResults
    private var machine: BoundaryMachine
    private var carry = ByteBuffer()
    /// Bytes of `carry` that the budget knows of.
    private var carried = 0
    /// Bytes that were read and not charged: of the event under way, and of what is no event's.
    private var uncharged = 0
    /// The event under way is larger than it may be; its bytes are not kept.
    private var isOversized = false
    /// The body's rest is of no interest.
    private var isDone = false
    /// Monotonic nanoseconds.
    private var waitingSince: UInt64? {
        didSet { gate.waitingBatches += (waitingSince == nil ? 0 : 1) - (oldValue == nil ? 0 : 1) }
    }
    /// The same, because of the pipe behind the producer.
    private var heldSince: UInt64? {
        didSet { gate.waitingBatches += (heldSince == nil ? 0 : 1) - (oldValue == nil ? 0 : 1) }
    }
    private var exchange: HTTPExchange?
    private var produced = 0
    /// Minus the events reported so far; behind ``close()`` plus those produced.
    private let unsettled = Atomic(0)
    /// Holds this object while produced events are not reported: their tokens only point into the results.
    private var hold: Unmanaged<BatchIngest>?

    init(_ format: BatchFormat, gate: EventProducer, admission: any EventAdmission, shedding: IngressShedding?) {
        self.gate = gate
        self.format = format
        self.admission = admission
        self.shedding = shedding
        eventBytes = gate.bounds.eventBytes
        mostEvents = gate.bounds.events
        results = BatchResults(budget: gate.budget)
        machine = BoundaryMachine(format)
    }

    // MARK: The body

    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        let door = open()
        if isHeld() { return .later(taken: 0, within: max(pause, .milliseconds(10))) }
        var at = 0
        // Whoever has come before does not wait for what may be a long turn.
        gate.produceGathered()
        let before = results.count
        while !isDone, at < piece.count {
            if let door, mustWait(for: door) { return later(at, within: pause) }
            guard results.count - before < Self.turn else { return later(at, within: .zero) }
            at = takeRun(of: piece, from: at, door)
            if results.refused >= Self.mostRefused { endRefused() }
        }
        chargeSkipped(at)
        return isDone ? .enough : .more
    }

    private func later(_ taken: Int, within time: Duration) -> HTTPBodyDemand {
        chargeSkipped(taken)
        return .later(taken: taken, within: time)
    }

    /// So much of a piece was read. What of it is no event's costs bytes all the same, a piece's length at a time.
    private func chargeSkipped(_ read: Int) {
        uncharged += read
        let skipped = uncharged - carry.count
        guard !isDone, results.refusal == nil, skipped >= Self.skippedBytes else { return }
        uncharged = carry.count
        switch admission.admit(skipped: skipped) {
        case .admitted: break
        case .refused(let answer): results.refusal = answer
        case .impossible(let answer): end(answer)
        }
    }

    /// So many events were refused for one reason that another one for each says nothing new.
    private func endRefused() {
        guard let refusal = results.refusal else { return }
        end(
            EventAnswer(
                status: refusal.status, detail: refusal.detail + " What follows was not read.", type: refusal.type,
                members: refusal.members, retryAfter: refusal.retryAfter, fields: refusal.fields))
    }

    /// Takes the events that lie in a piece as a whole, as many as go together, and what stands behind them.
    /// - Returns: where to go on.
    private func takeRun(of piece: UnsafeRawBufferPointer, from start: Int, _ door: EventProducer.Door?) -> Int {
        let most = door?.producer.groupRecords ?? 1
        return withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: most) { events in
            var (at, count, bytes) = (start, 0, 0)
            while at < piece.count, count < events.count {
                let step = machine.pieceRead(piece, from: at)
                if case .event(let range, let next) = step, let door, results.refusal == nil, carry.count == 0, !isOversized,
                    range.count <= eventBytes, piece.count - range.upperBound >= ByteBuffer.padding,
                    results.count + count < mostEvents
                {
                    let event = trimmed(UnsafeRawBufferPointer(rebasing: piece[range]))
                    events.initializeElement(at: count, to: event)
                    (at, count, bytes) = (next, count + 1, bytes + event.count)
                    if at == piece.count || count == events.count {
                        take(UnsafeBufferPointer(rebasing: events[..<count]), bytes, door)
                        return at
                    }
                    continue
                }
                if count > 0, let door { take(UnsafeBufferPointer(rebasing: events[..<count]), bytes, door) }
                return isDone ? at : take(step, of: piece, at, door)
            }
            return at
        }
    }

    /// Takes one step of the boundaries by itself.
    private func take(
        _ step: BoundaryMachine.Step, of piece: UnsafeRawBufferPointer, _ at: Int, _ door: EventProducer.Door?
    ) -> Int {
        switch step {
        case .nothing:
            return piece.count
        case .part(let range):
            keep(UnsafeRawBufferPointer(rebasing: piece[range]))
            return piece.count
        case .event(let range, let next):
            take(UnsafeRawBufferPointer(rebasing: piece[range]), behind: piece.count - range.upperBound, door)
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
                    EventAnswer(
                        status: 413,
                        detail: "A body may have at most \(limit) bytes (http.max_body_bytes); what follows was not read."))
            case (.complete, .complete):
                break
            case (.complete, .event):
                let door = open()
                if let door, mustWait(for: door) { return .later(taken: 0, within: pause) }
                take(UnsafeRawBufferPointer(start: nil, count: 0), behind: 0, door)
            case (.complete, .broken(let fault)):
                self.end(malformed(fault.rawValue))
            }
        }
        self.exchange = exchange
        // The first one that was refused was told when it alone would pass.
        if results.refusal?.status == 429, let whole = admission.refusal(ofEvents: results.refused, bytes: results.refusedBytes) {
            results.refusal = whole
        }
        close()
        return .more
    }

    func abandoned() { close() }

    /// Where events go; from the moment there is no such place, the rest of the batch is refused.
    private func open() -> EventProducer.Door? {
        guard results.refusal == nil else { return nil }
        switch gate.open() {
        case .success(let door):
            return door
        case .failure(let closed):
            results.refusal = closed.answer
            return nil
        }
    }

    /// Whether this piece has to wait: the pipe behind the producer does not keep up, and a body may be long.
    private func isHeld() -> Bool {
        guard !isDone, results.refusal == nil, let shedding else { return false }
        let now = MonotonicClock.nanoseconds()
        guard shedding.isHolding(at: now) else {
            if heldSince != nil { heldSince = nil }
            return false
        }
        let since = heldSince ?? now
        if heldSince == nil { heldSince = now }
        if .nanoseconds(now - min(now, since)) >= gate.patience { results.refusal = shedding.refusalOfRest() }
        guard results.refusal == nil else {
            heldSince = nil
            return false
        }
        return true
    }

    private func mustWait(for door: EventProducer.Door) -> Bool {
        guard results.refusal == nil, !door.producer.hasRoom(forBytes: eventBytes) else {
            if waitingSince != nil { waitingSince = nil }
            return false
        }
        let now = MonotonicClock.nanoseconds()
        let since = waitingSince ?? now
        if waitingSince == nil { waitingSince = now }
        if .nanoseconds(now - min(now, since)) < gate.patience { return true }
        // All of them, not this one alone: a later event of its key must not overtake it.
        results.refusal = KafkaAnswers.answer(to: .queueFull)
        waitingSince = nil
        return false
    }

    private func malformed(_ sentence: String) -> EventAnswer {
        .bad(reason: "malformed_json", detail: "\(sentence) What follows was not read.")
    }

    /// The rest of the body gets one result, and is not read.
    private func end(_ answer: EventAnswer) {
        results.rest = answer
        isDone = true
    }

    // MARK: Events

    /// Keeps what a piece holds of an event that goes on in the next.
    private func keep(_ part: UnsafeRawBufferPointer) {
        if isOversized || carry.count + part.count > eventBytes {
            isOversized = true
            carry.removeAll()
        } else if canCarry(part.count) {
            carry.append(part)
        } else {
            noMemory()
        }
    }

    /// Whether so many bytes more can be kept. The first 4 KiB are everybody's; what was paid stays the batch's until its end.
    private func canCarry(_ bytes: Int) -> Bool {
        let needed = carry.count + bytes
        guard needed > max(carried, 4096) else { return true }
        guard gate.budget.take(needed - carried) else { return false }
        carried = needed
        return true
    }

    /// An event is whole: what was kept of it, and `part`.
    /// - Parameter behind: bytes that may be read behind `part`.
    private func take(_ part: UnsafeRawBufferPointer, behind: Int, _ door: EventProducer.Door?) {
        let part = trimmed(part)
        guard results.count < mostEvents else {
            let detail = "A request may hold at most \(mostEvents) events (http.max_batch_events); what follows was not read."
            return end(EventAnswer(status: 413, detail: detail))
        }
        if isOversized || carry.count + part.count > eventBytes {
            isOversized = false
            carry.removeAll()
            takeOversized()
        } else if carry.count == 0, behind >= ByteBuffer.padding {
            // Most events: read where they lie.
            take(part, door)
        } else if canCarry(part.count) {
            carry.append(part)
            take(trimmed(carry.bytes), door)
            carry.removeAll()
        } else {
            noMemory()
        }
    }

    /// Without the white space behind it: the carriage return of a line that ends with two bytes is no part of the event.
    private func trimmed(_ part: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var end = part.count
        while end > 0, BoundaryMachine.isSpace(part[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: part[..<end])
    }

    private func takeOversized() {
        // Whether such an element is JSON is not known, so in an array neither is where the next one begins.
        guard format == .lines else {
            let answer = ResultTable.tooLarge(eventBytes)
            return end(EventAnswer(status: 413, detail: answer.detail + " What follows was not read."))
        }
        if results.refusal == nil { _ = append(ResultTable.tooLarge) } else { results.appendRefused(bytes: 0) }
    }

    /// - Parameter event: with ``ByteBuffer/padding`` readable bytes behind it.
    private func take(_ event: UnsafeRawBufferPointer, _ door: EventProducer.Door?) {
        guard let door, results.refusal == nil else {
            return results.appendRefused(bytes: event.count)
        }
        withUnsafePointer(to: event) { take(UnsafeBufferPointer(start: $0, count: 1), event.count, door) }
    }

    /// Takes events, at most ``ProducerGroup/capacity``, each with ``ByteBuffer/padding`` readable bytes behind it.
    private func take(_ events: UnsafeBufferPointer<UnsafeRawBufferPointer>, _ bytes: Int, _ door: EventProducer.Door) {
        // Together where they all pass: whether and where they do not is found one by one. Of an array nobody knows before the check of one
        // element whether there is a next.
        let areAdmitted =
            format == .lines && events.count > 1 && results.reserve(events.count, owner: self)
            && admission.admitTogether(events: events.count, bytes: bytes)
        if areAdmitted { uncharged -= bytes }
        for event in events where !isDone {
            guard results.refusal == nil else {
                results.appendRefused(bytes: event.count)
                continue
            }
            guard areAdmitted || isAdmitted(event) else { continue }
            if let fault = gate.check(event) {
                // Behind an element that is not JSON nobody knows where the next one begins.
                if format == .array, fault.reason == "malformed_json" || fault.reason == "too_deep" {
                    end(.bad(reason: fault.reason, detail: "\(fault.detail) What follows was not read."))
                    continue
                }
                refuse(.bad(reason: fault.reason, detail: fault.detail), gate.results.code(ofReason: fault.reason))
            } else if let cell = append(ResultTable.pending) {
                gate.group.append(
                    key: gate.checkedKey, value: event, token: UInt(bitPattern: cell) | BatchResults.tokenMark)
            }
        }
        produce(to: door)
    }

    private func isAdmitted(_ event: UnsafeRawBufferPointer) -> Bool {
        switch admission.admit(bytes: event.count) {
        case .admitted:
            uncharged -= event.count
            return true
        case .impossible(let answer):
            uncharged -= event.count
            refuse(answer, ResultTable.impossible)
        case .refused(let answer):
            results.refusal = answer
            results.appendRefused(bytes: event.count)
        }
        return false
    }

    /// Hands over what has been gathered.
    private func produce(to door: EventProducer.Door) {
        guard gate.group.count > 0 else { return }
        if hold == nil { hold = .passRetained(self) }
        produced += gate.group.count
        door.producer.produce(door.topic, &gate.group) { token, error in
            produced -= 1
            BatchIngest.note(token, gate.results.code(of: error))
            // One that is too large for the broker stops nobody else; whatever else it is, a later event of its key must not overtake it.
            if error.code != .recordTooLarge, results.refusal == nil { results.refusal = KafkaAnswers.eventAnswer(to: error) }
        }
    }

    private func refuse(_ answer: EventAnswer, _ code: UInt8) {
        if results.keepsSentences {
            if !results.append(answer, orElse: code, owner: self) { noMemory() }
        } else {
            _ = append(code)
        }
    }

    private func append(_ code: UInt8) -> UnsafeMutablePointer<UInt8>? {
        let cell = results.append(code, owner: self)
        if cell == nil { noMemory() }
        return cell
    }

    private func noMemory() {
        end(
            .unavailable(
                "Too much is being read and waits to be answered; what follows was not read, and nothing of it was written."))
    }

    // MARK: The end

    /// Writes what became of an event: it was refused, or reported. The batch must be told by ``settle(_:_:)`` of each one that was reported.
    /// - Returns: its batch.
    @discardableResult
    static func note(_ token: UInt, _ code: UInt8) -> UnsafeMutableRawPointer {
        let cell = UnsafeMutableRawPointer(bitPattern: token & ~BatchResults.tokenMark)!
        cell.storeBytes(of: code, as: UInt8.self)
        return BatchResults.owner(of: cell)
    }

    /// So many produced events of a batch were reported. The producer's report thread.
    static func settle(_ batch: UnsafeMutableRawPointer, _ events: Int) {
        let batch = Unmanaged<BatchIngest>.fromOpaque(batch)
        // Below zero until `close` has added what was produced, so that zero is the end. Behind a count that is not the last the batch
        // may be gone: no reference is held for a single report.
        let isLast = batch._withUnsafeGuaranteedRef {
            $0.unsettled.subtract(events, ordering: .acquiringAndReleasing).newValue == 0
        }
        if isLast { batch.takeUnretainedValue().settled() }
    }

    /// No more events come.
    private func close() {
        isDone = true
        carry.shrink(to: 0)
        gate.budget.give(carried)
        carried = 0
        if waitingSince != nil { waitingSince = nil }
        if heldSince != nil { heldSince = nil }
        if unsettled.add(produced, ordering: .acquiringAndReleasing).newValue == 0 { settled() }
    }

    /// Every result stands: counts them, and answers if anybody waits.
    private func settled() {
        let answer = BatchAnswer(results, gate.results)
        answer.count(in: gate.counters)
        exchange?.respond(answer.response)
        exchange = nil
        let hold = hold
        self.hold = nil
        hold?.release()
    }
}
