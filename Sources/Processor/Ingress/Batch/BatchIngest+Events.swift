// Decides what becomes of each event of a batch: checks it, charges it, and produces it or notes why not.

import HTTPServer
import Kafka
import Records

extension BatchIngest {
    /// Keeps the part of an event that continues in the next piece.
    func keep(_ part: UnsafeRawBufferPointer) {
        if isOversized || carry.count + part.count > eventBytes {
            isOversized = true
            carry.removeAll()
        } else if canCarry(part.count) {
            carry.append(part)
        } else {
            noMemory()
        }
    }

    /// Whether so many more bytes can be kept. The first 4 KiB of a batch need no budget; what it takes it keeps until its end.
    private func canCarry(_ bytes: Int) -> Bool {
        let needed = carry.count + bytes
        guard needed > max(carried, 4096) else { return true }
        guard eventProducer.budget.take(needed - carried) else { return false }
        carried = needed
        return true
    }

    /// Takes a complete event: the kept part, and `part`.
    /// - Parameter readable: bytes after `part` that may be read.
    func take(
        _ part: UnsafeRawBufferPointer, readableAfter readable: Int, _ binding: EventProducer.ProducerBinding?
    ) {
        let part = trimmed(part)
        guard results.count < mostEvents else {
            let detail = "A request may hold at most \(mostEvents) events (http.max_batch_events); what follows was not read."
            return end(ProblemDetails(status: 413, detail: detail))
        }
        if isOversized || carry.count + part.count > eventBytes {
            isOversized = false
            carry.removeAll()
            takeOversized()
        } else if carry.count == 0, readable >= ByteBuffer.padding {
            // The usual case: the event is not copied.
            take(part, binding)
        } else if canCarry(part.count) {
            carry.append(part)
            take(trimmed(carry.bytes), binding)
            carry.removeAll()
        } else {
            noMemory()
        }
    }

    /// Without trailing white space, such as the carriage return of a line that ends with CR LF.
    func trimmed(_ part: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var end = part.count
        while end > 0, BoundaryMachine.isSpace(part[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: part[..<end])
    }

    private func takeOversized() {
        // An element that was not checked may be malformed, so its end in an array is not certain.
        guard format == .lines else {
            var problem = ResultTable.tooLarge(eventBytes)
            problem.detail += " What follows was not read."
            return end(problem)
        }
        if results.refusal == nil { _ = append(ResultTable.tooLarge) } else { results.appendRefused(bytes: 0) }
    }

    /// - Parameter event: followed by ``ByteBuffer/padding`` readable bytes.
    private func take(_ event: UnsafeRawBufferPointer, _ binding: EventProducer.ProducerBinding?) {
        guard let binding, results.refusal == nil else {
            return results.appendRefused(bytes: event.count)
        }
        withUnsafePointer(to: event) { take(UnsafeBufferPointer(start: $0, count: 1), event.count, binding) }
    }

    /// Takes complete events, at most ``ProducerGroup/capacity``, each followed by ``ByteBuffer/padding`` readable bytes.
    func take(
        _ events: UnsafeBufferPointer<UnsafeRawBufferPointer>, _ bytes: Int, _ binding: EventProducer.ProducerBinding
    ) {
        // Charged together if all of them pass, one by one otherwise. Not in an array: the boundary after an element is certain only once
        // the element was checked.
        let areAdmitted =
            format == .lines && events.count > 1 && results.reserve(events.count, owner: self)
            && (quota?.chargeTogether(events: events.count, bytes: bytes) ?? true)
        if areAdmitted { uncharged -= bytes }
        for event in events where !isDone {
            guard results.refusal == nil else {
                results.appendRefused(bytes: event.count)
                continue
            }
            guard areAdmitted || isAdmitted(event) else { continue }
            if let fault = eventProducer.check(event) {
                // After an element that is not JSON the next boundary is not certain.
                if format == .array, fault.reason == "malformed_json" || fault.reason == "too_deep" {
                    end(.invalidEvent(reason: fault.reason, detail: "\(fault.detail) What follows was not read."))
                    continue
                }
                refuse(
                    .invalidEvent(reason: fault.reason, detail: fault.detail), eventProducer.results.code(ofReason: fault.reason))
            } else if let cell = append(ResultTable.pending) {
                eventProducer.group.append(
                    key: eventProducer.checkedKey, value: event, token: UInt(bitPattern: cell) | BatchResults.tokenMark)
            }
        }
        produce(to: binding)
    }

    private func isAdmitted(_ event: UnsafeRawBufferPointer) -> Bool {
        let refusal = quota?.charge(events: 1, bytes: event.count)
        if let refusal, refusal.status == 429 {
            results.refusal = refusal
            results.appendRefused(bytes: event.count)
            return false
        }
        uncharged -= event.count
        // It costs more than a policy ever allows; the events that follow may pass.
        if let refusal { refuse(refusal, ResultTable.impossible) }
        return refusal == nil
    }

    /// Produces the group.
    private func produce(to binding: EventProducer.ProducerBinding) {
        guard eventProducer.group.count > 0 else { return }
        if hold == nil { hold = .passRetained(self) }
        produced += eventProducer.group.count
        binding.producer.produce(binding.topic, &eventProducer.group) { token, error in
            produced -= 1
            eventProducer.failures.failed(error)
            BatchIngest.note(token, eventProducer.results.code(of: error))
            // An event that is too large for the broker stops no other. After any other error all events that follow are refused: a later
            // event of the same key must not overtake this one.
            if error.code != .recordTooLarge, results.refusal == nil { results.refusal = KafkaAnswers.problem(error) }
        }
    }

    private func refuse(_ problem: ProblemDetails, _ code: UInt8) {
        if results.keepsProblems {
            if !results.append(problem, orElse: code, owner: self) { noMemory() }
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
                "The memory for batches that are being read is used up. What follows was not read, and nothing of it was written."
            ))
    }
}
