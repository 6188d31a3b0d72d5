// Decides what becomes of the events of a batch before they are produced: which are charged, refused or not read, and why.

import HTTPServer

/// The admission of one batch's events, in their order. Pure but for the rate limits; the results are the caller's.
///
/// Once an event was refused because a limit is reached, or for lack of room, all that follow are refused for the same reason: a later
/// event of the same key must not overtake it.
struct BatchAdmission: ~Copyable {
    /// Bytes that belong to no event are charged in steps of this size.
    private static let skippedBytes = 16 << 10
    /// Most events after the first refused one that have a result of their own: each is an object in the response.
    private static let mostRefused = 100_000

    let results: BatchResults
    /// The rest of the body is not read.
    private(set) var isDone = false
    private let format: BatchFormat
    private let request: SendRequest
    /// Bytes that were read and not charged yet: of an incomplete event, of no event, or of refused ones.
    private var uncharged = 0

    init(_ format: BatchFormat, _ request: SendRequest, _ results: BatchResults) {
        self.format = format
        self.request = request
        self.results = results
    }

    /// Whether events are still taken.
    var isOpen: Bool { !isDone && results.refusal == nil }

    /// How many further events may be taken together.
    var room: Int { max(1, request.bounds.events - results.count) }

    /// Charges events together if all of them pass.
    /// - Returns: `false`: each is charged by itself. So are those of an array: the boundary after an element is certain only once the
    ///   element was checked.
    mutating func chargeTogether(_ events: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Bool {
        guard format == .lines, events.count > 1, isOpen, results.reserve(events.count) else { return false }
        let bytes = events.reduce(0) { $0 + $1.count }
        guard request.chargeTogether(events: events.count, bytes: bytes) else { return false }
        uncharged -= bytes
        return true
    }

    /// Whether an event may be produced; if not, its result is known.
    /// - Parameter isCharged: by ``chargeTogether(_:)``.
    mutating func admits(bytes: Int, isCharged: Bool) -> Bool {
        guard !isDone, hasRoom() else { return false }
        if results.refusal == nil, !isCharged {
            let refusal = request.charge(events: 1, bytes: bytes)
            if let refusal, refusal.status != 429 {
                // It costs more than a policy ever allows; the events that follow may pass.
                refuse(refusal, ResultTable.impossible)
                return false
            }
            if refusal == nil { uncharged -= bytes }
            results.refusal = refusal
        }
        guard results.refusal != nil else { return true }
        results.appendRefused(bytes: bytes)
        if results.refused >= Self.mostRefused, var rest = results.refusal {
            rest.detail += " What follows was not read."
            end(rest)
        }
        return false
    }

    /// An admitted event breaks a rule of the mapping.
    mutating func faulted(_ problem: ProblemDetails, _ code: UInt8, isMalformed: Bool) {
        guard format == .array, isMalformed else { return refuse(problem, code) }
        // After an element that is not JSON the next boundary is not certain.
        var problem = problem
        problem.detail += " What follows was not read."
        end(problem)
    }

    /// An admitted event is produced.
    /// - Returns: where its result is written; `nil`: the memory for results is used up.
    mutating func produced() -> UnsafeMutablePointer<UInt8>? {
        let cell = results.append(ResultTable.pending)
        if cell == nil { noMemory() }
        return cell
    }

    /// An event had more bytes than one may have.
    mutating func oversized() {
        guard hasRoom() else { return }
        guard format == .lines else {
            // An element that was not checked may be malformed, so its end in an array is not certain.
            var problem = ResultTable.tooLarge(request.bounds.eventBytes)
            problem.detail += " What follows was not read."
            return end(problem)
        }
        if results.refusal != nil {
            results.appendRefused(bytes: 0)
        } else if results.append(ResultTable.tooLarge) == nil {
            noMemory()
        }
    }

    /// Refuses all events that follow for one reason, unless there is one already.
    mutating func refuseRest(_ problem: ProblemDetails) {
        if results.refusal == nil { results.refusal = problem }
    }

    /// So many bytes of the body were taken; `kept` bytes of all belong to an incomplete event. Those that belong to no event are charged
    /// as well.
    mutating func bytesTaken(_ count: Int, kept: Int) {
        uncharged += count
        let skipped = uncharged - kept
        guard isOpen, skipped >= Self.skippedBytes else { return }
        guard let refusal = request.charge(events: 0, bytes: skipped) else {
            uncharged = kept
            return
        }
        if refusal.status == 429 { results.refusal = refusal } else { end(refusal) }
    }

    /// The body is over. The first refused event was told when it alone would pass; the answer is for all refused events together.
    mutating func bodyEnded() {
        isDone = true
        guard results.refusal?.status == 429 else { return }
        if let whole = request.preview(events: results.refused, bytes: results.refusedBytes, lost: uncharged), whole.status == 429
        {
            results.refusal = whole
        }
    }

    // MARK: The end of reading

    private mutating func hasRoom() -> Bool {
        let most = request.bounds.events
        if results.count < most { return true }
        end(413, "A request may hold at most \(most) events (http.max_batch_events); what follows was not read.")
        return false
    }

    mutating func broken(_ fault: BoundaryMachine.Fault) {
        end(.invalidEvent(reason: "malformed_json", detail: "\(fault.rawValue) What follows was not read."))
    }

    mutating func tooLong(_ limit: Int) {
        end(413, "A body may have at most \(limit) bytes (http.max_body_bytes); what follows was not read.")
    }

    mutating func noMemory() {
        end(
            .unavailable(
                "The memory for batches that are being read is used up. What follows was not read, and nothing of it was written."
            ))
    }

    private mutating func end(_ status: Int, _ detail: String) { end(ProblemDetails(status: status, detail: detail)) }

    /// Stops reading; the rest of the body gets one result.
    private mutating func end(_ problem: ProblemDetails) {
        guard !isDone else { return }
        results.rest = problem
        isDone = true
    }

    private mutating func refuse(_ problem: ProblemDetails, _ code: UInt8) {
        let isKept = results.keepsProblems ? results.append(problem, orElse: code) : results.append(code) != nil
        if !isKept { noMemory() }
    }
}
