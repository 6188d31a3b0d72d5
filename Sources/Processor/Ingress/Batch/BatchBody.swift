// Writes the results of a batch as the response is sent.

import HTTPServer
import Platform

/// The body of a batch's response: a head, one text for each event, a foot. Each part is written when the connection takes it.
final class BatchBody: HTTPBodySource, @unchecked Sendable {
    // Licence for @unchecked: made once all results are known, then used by the HTTP loop's thread alone (HTTPBodySource's contract).

    let byteCount: Int
    private let results: BatchResults
    private let head: [UInt8]
    private let foot: [UInt8]
    private let refusal: [UInt8]
    /// The text to be written: 0 is the head; then those of the events, and the foot.
    private var part = 0
    private var note = 0
    /// Bytes of the current text that are written.
    private var offset = 0

    /// - Parameters:
    ///   - members: the object's members before `results`.
    ///   - counts: events by code.
    init(_ results: BatchResults, members: [JSONValue.Member], counts: [Int]) {
        self.results = results
        var head = JSONValue.object(members).utf8
        // Without the closing brace: `results` follows.
        head.removeLast()
        head += (members.isEmpty ? #""results":["# : #","results":["#).utf8
        self.head = head
        var foot = results.rest.map(ResultTable.text) ?? []
        if results.count == 0, !foot.isEmpty { foot.removeFirst() }
        foot += "]}\n".utf8
        self.foot = foot
        refusal = results.refusal.map(ResultTable.text) ?? []
        var bytes = head.count + foot.count + results.noteTexts.count - (results.count == 0 ? 0 : 1)
        for (code, count) in counts.enumerated() {
            bytes += count * (code == Int(ResultTable.refused) ? refusal.count : ResultTable.texts[code].count)
        }
        byteCount = bytes
    }

    func write(from position: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var written = 0
        while part <= results.count + 1, withText({ put($0, into: buffer, at: &written) }) {
            part += 1
            // No comma before the first event.
            offset = part == 1 && results.count > 0 ? 1 : 0
        }
        return written
    }

    /// Calls `put` with the text of the current part.
    /// - Returns: whether it is complete.
    private func withText(_ put: (UnsafeRawBufferPointer) -> Bool) -> Bool {
        if part == 0 { return head.withUnsafeBytes(put) }
        if part > results.count { return foot.withUnsafeBytes(put) }
        let code = results.code(part - 1)
        switch code {
        case ResultTable.refused: return refusal.withUnsafeBytes(put)
        case ResultTable.noted:
            let kept = results.notes[note]
            let isDone = results.noteTexts.withUnsafeBytes {
                put(UnsafeRawBufferPointer(rebasing: $0[kept.start..<kept.start + kept.count]))
            }
            if isDone { note += 1 }
            return isDone
        default: return ResultTable.texts[Int(code)].withUnsafeBytes(put)
        }
    }

    /// Writes the text from ``offset`` on, or the part of it that fits.
    /// - Returns: whether it is complete.
    private func put(
        _ text: UnsafeRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer, at written: inout Int
    ) -> Bool {
        let count = min(text.count - offset, buffer.count - written)
        (buffer.baseAddress! + written).copyMemory(from: text.baseAddress! + offset, byteCount: count)
        written += count
        offset += count
        return offset == text.count
    }
}
