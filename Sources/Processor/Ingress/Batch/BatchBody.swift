// Writes the results of a batch while they are sent.

import HTTPServer

/// The body of a batch's answer: a head, one text for each event, a foot. Nothing is written before its turn.
final class BatchBody: HTTPBodySource, @unchecked Sendable {
    // Licence for @unchecked: made when the results stand, then used by the HTTP loop's thread alone (HTTPBodySource's contract).

    private enum Place { case head, events, foot }

    let byteCount: Int
    private let results: BatchResults
    private let table: ResultTable
    private let head: [UInt8]
    private let foot: [UInt8]
    private let refusal: [UInt8]
    private var place = Place.head
    private var event = 0
    private var note = 0
    /// Bytes written of the text whose turn it is.
    private var offset = 0

    /// - Parameters:
    ///   - members: what stands before `results` in the object.
    ///   - counts: events by code.
    init(_ results: BatchResults, table: ResultTable, members: [JSONValue.Member], counts: [Int]) {
        self.results = results
        self.table = table
        var head = JSONValue.object(members).utf8
        // Open again, for one more member.
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
            bytes += count * (code == Int(ResultTable.refused) ? refusal.count : table.texts[code].count)
        }
        byteCount = bytes
    }

    func write(from position: Int, into room: UnsafeMutableRawBufferPointer) -> Int {
        var written = 0
        while written < room.count {
            switch place {
            case .head:
                guard head.withUnsafeBytes({ put($0, into: room, at: &written) }) else { break }
                place = results.count == 0 ? .foot : .events
                // No comma before the first event.
                offset = results.count == 0 ? 0 : 1
            case .events:
                guard putEvent(into: room, at: &written) else { break }
                event += 1
                if event == results.count { place = .foot }
            case .foot:
                if foot.withUnsafeBytes({ put($0, into: room, at: &written) }) { return written }
            }
        }
        return written
    }

    /// Writes the current event's text, or what fits of it.
    /// - Returns: whether it is done.
    private func putEvent(into room: UnsafeMutableRawBufferPointer, at written: inout Int) -> Bool {
        let code = results.code(event)
        switch code {
        case ResultTable.refused:
            return refusal.withUnsafeBytes { put($0, into: room, at: &written) }
        case ResultTable.noted:
            let kept = results.notes[note]
            let isDone = results.noteTexts.withUnsafeBytes {
                put(UnsafeRawBufferPointer(rebasing: $0[kept.start..<kept.start + kept.count]), into: room, at: &written)
            }
            if isDone { note += 1 }
            return isDone
        default:
            return table.texts[Int(code)].withUnsafeBytes { put($0, into: room, at: &written) }
        }
    }

    private func put(
        _ text: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer, at written: inout Int
    ) -> Bool {
        let count = min(text.count - offset, room.count - written)
        (room.baseAddress! + written).copyMemory(from: text.baseAddress! + offset, byteCount: count)
        written += count
        offset += count
        guard offset == text.count else { return false }
        offset = 0
        return true
    }
}
