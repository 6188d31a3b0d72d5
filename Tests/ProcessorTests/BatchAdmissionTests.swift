// Proves how a batch is cut into events, and what becomes of each before any is produced.

import Admission
import HTTPServer
import Records
import TestSupport
import Testing

@testable import sluice

/// A step of a splitter, with its event as text.
private enum Cut: Equatable {
    case event(String)
    case oversized, noMemory
    case broken(BoundaryMachine.Fault)
}

/// Feeds `text` in pieces of `size` bytes, and checks that as many bytes after each event can be read as the decoder needs.
private func cut(
    _ text: String, _ format: BatchFormat, by size: Int, eventBytes: Int = 1_000, budget: ResultBudget = ResultBudget()
) -> [Cut] {
    var splitter = EventSplitter(format, eventBytes: eventBytes, budget: budget)
    var cuts: [Cut] = []
    func note(_ step: EventSplitter.Step, _ piece: UnsafeRawBufferPointer) -> Bool {
        switch step {
        case .nothing: return false
        case .event(let event, let isCopied):
            if !isCopied {
                let end = event.baseAddress! + event.count
                #expect(end + ByteBuffer.padding <= piece.baseAddress! + piece.count)
            }
            cuts.append(.event(String(decoding: event, as: UTF8.self)))
        case .oversized: cuts.append(.oversized)
        case .noMemory: cuts.append(.noMemory)
        case .broken(let fault):
            cuts.append(.broken(fault))
            return false
        }
        return true
    }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        // The bytes after a piece's end must not be read.
        let piece = Array(rest.prefix(size))
        rest = rest.dropFirst(size)
        piece.withUnsafeBytes { piece in
            var at = 0
            while at < piece.count, note(splitter.next(piece, &at), piece) {}
        }
        if case .broken = cuts.last { return cuts }
    }
    _ = note(splitter.bodyEnded(), UnsafeRawBufferPointer(start: nil, count: 0))
    return cuts
}

@Suite struct EventSplitterTests {
    @Test(arguments: [1, 2, 7, 50, 1 << 20]) func eventsAreWholeHoweverTheBodyIsCut(_ size: Int) {
        let events = (0..<40).map { event($0, message: String(repeating: "x", count: $0 * 13 % 90)) }
        let expected = events.map { Cut.event($0) }
        #expect(cut(events.joined(separator: " \r\n\n "), .lines, by: size) == expected)
        #expect(cut("[ " + events.joined(separator: " ,\n") + " ]", .array, by: size) == expected)
        #expect(cut("[{}", .array, by: size) == [.event("{}"), .broken(.unclosed)])
    }

    @Test(arguments: [1, 3, 200, 1 << 20]) func anEventThatIsTooLargeIsPassedOver(_ size: Int) {
        let large = String(repeating: "y", count: 101)
        let fits = String(repeating: "y", count: 100)
        #expect(
            cut("a\n\(large)\n\(fits)\n\(large)\nb", .lines, by: size, eventBytes: 100)
                == [.event("a"), .oversized, .event(fits), .oversized, .event("b")])
        #expect(cut(large, .lines, by: size, eventBytes: 100) == [.oversized])
    }

    @Test func memoryForAnEventInTwoPiecesIsBounded() {
        let budget = ResultBudget(bytes: 10_000)
        let large = String(repeating: "z", count: 20_000)
        #expect(cut("\(large)\n", .lines, by: 8_000, eventBytes: 1 << 20, budget: budget).contains(.noMemory))
        #expect(budget.free == 10_000, "given back")
        let small = String(repeating: "z", count: 4_000)
        #expect(
            cut("\(small)\n\(small)", .lines, by: 500, eventBytes: 1 << 20, budget: ResultBudget(bytes: 0)) == [
                .event(small), .event(small),
            ])
    }
}

/// An admission by itself, under these policies and with a clock that stands still; and what it has decided so far.
private final class Batch {
    private var admission: BatchAdmission

    init(_ format: BatchFormat = .lines, mostEvents: Int = 1_000, _ policies: PolicySettings...) {
        var settings = SluiceSettings()
        settings.http.maxBatchEvents = mostEvents
        settings.limits.retryJitter = 0
        settings.limits.policies = policies
        let request = SendRequest(
            bounds: BatchBounds.Values(settings.http), limits: IngressLimits(settings, clock: { 1_000_000_000 }),
            client: RateLimitKey(name: "client"))
        admission = BatchAdmission(format, request, BatchResults(budget: ResultBudget()))
    }

    var results: BatchResults { admission.results }
    var isOpen: Bool { admission.isOpen }
    var isDone: Bool { admission.isDone }
    var codes: [UInt8] { (0..<results.count).map { results.code($0) } }

    func with(_ body: (inout BatchAdmission) -> Void) { body(&admission) }

    /// Offers events of ten bytes.
    /// - Returns: which of them may be produced.
    func taken(_ events: Int) -> [Bool] {
        (0..<events).map { _ in admission.admits(bytes: 10, isCharged: false) && admission.produced() != nil }
    }

    /// Offers events of ten bytes to be charged together.
    func together(_ events: Int) -> Bool {
        [UInt8](repeating: 0x78, count: 10).withUnsafeBytes { text in
            Array(repeating: text, count: events).withUnsafeBufferPointer { admission.chargeTogether($0) }
        }
    }
}

@Suite struct BatchAdmissionTests {
    private let events = PolicySettings(name: "events", key: .client, unit: .events, bucket: BucketSettings(rate: 1, burst: 3))
    private let bytes = PolicySettings(name: "bytes", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 40_000))

    @Test func afterTheFirstRefusedEventAllAre() {
        let batch = Batch(.lines, events)
        #expect(batch.taken(5) == [true, true, true, false, false])
        batch.with { $0.oversized() }
        #expect(batch.codes == [0, 0, 0, 2, 2, 2])
        #expect(!batch.isOpen && !batch.isDone)
        #expect(batch.results.refusal?.retryAfter == 1)
        batch.with { $0.bodyEnded() }
        #expect(batch.results.refusal?.retryAfter == 3, "all three together")
        #expect(batch.isDone && batch.results.rest == nil)
    }

    @Test func anEventThatNeverPassesIsRefusedAlone() {
        let batch = Batch(.lines, bytes)
        batch.with { _ = $0.admits(bytes: 40_001, isCharged: false) }
        #expect(batch.taken(1) == [true])
        #expect(batch.codes == [ResultTable.noted, ResultTable.pending])
        #expect(batch.results.notes.map(\.status) == [413])
    }

    @Test func eventsAreChargedTogetherOnlyIfAllPass() {
        let batch = Batch(.lines, events)
        #expect(batch.together(2))
        #expect(!batch.together(2), "one is left")
        #expect(batch.taken(2) == [true, false])
        #expect(!Batch(.array, events).together(2), "an element's end is not certain yet")
    }

    @Test func bytesOfNoEventAreCharged() {
        let batch = Batch(.lines, bytes)
        for expected in [true, true, false] {
            batch.with { $0.bytesTaken(20_000, kept: 3_000) }
            #expect(batch.isOpen == expected)
        }
        #expect(batch.results.refusal?.status == 429)
        let few = Batch(.lines, bytes)
        few.with { $0.bytesTaken(16_000, kept: 0) }
        #expect(few.isOpen, "in steps of 16 KiB")
        let never = Batch(
            .lines, PolicySettings(name: "b", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 9)))
        never.with { $0.bytesTaken(20_000, kept: 0) }
        #expect(never.isDone && never.results.rest?.status == 413)
    }

    @Test func readingEndsWithOneResultForTheRest() {
        let many = Batch(mostEvents: 2)
        #expect(many.taken(3) == [true, true, false])
        many.with { $0.tooLong(7) }
        #expect(many.results.rest?.detail.contains("http.max_batch_events") == true, "the first reason stays")
        for format in [BatchFormat.lines, .array] {
            let large = Batch(format)
            large.with { $0.oversized() }
            #expect(large.isDone == (format == .array))
            #expect(large.results.rest?.status == (format == .array ? 413 : nil))
            #expect(large.codes == (format == .array ? [] : [ResultTable.tooLarge]))
            let malformed = Batch(format)
            malformed.with {
                $0.faulted(.invalidEvent(reason: "malformed_json", detail: "Bad."), ResultTable.tooLarge, isMalformed: true)
            }
            #expect(malformed.results.rest?.detail == (format == .array ? "Bad. What follows was not read." : nil))
        }
        let flood = Batch(mostEvents: 1_000_000)
        flood.with {
            $0.refuseRest(.unavailable("Full."))
            $0.refuseRest(.unavailable("Other."))
        }
        #expect(flood.taken(100_001).allSatisfy { !$0 })
        #expect(flood.results.refused == 100_000)
        #expect(flood.results.rest?.detail == "Full. What follows was not read.")
    }
}
