// The words of the action envelope, in a form that is compared without a String.

import Glibc
import Records

/// Words and the operations they stand for. Immutable.
final class WordTable: @unchecked Sendable {
    // Licence for @unchecked: written in init only; afterwards it is memory that everyone may read.

    private struct Entry {
        let start: Int
        let length: Int
        let operation: Operation
    }

    /// The words, in the mapping's order.
    let texts: [String]
    private let entries: UnsafeMutableBufferPointer<Entry>
    private let bytes: UnsafeMutableBufferPointer<UInt8>

    init(_ words: [(text: String, operation: Operation)]) {
        var utf8: [UInt8] = []
        var table: [Entry] = []
        for (text, operation) in words {
            table.append(Entry(start: utf8.count, length: text.utf8.count, operation: operation))
            utf8 += text.utf8
        }
        texts = words.map(\.text)
        entries = .allocate(capacity: table.count)
        _ = entries.initialize(from: table)
        bytes = .allocate(capacity: utf8.count)
        _ = bytes.initialize(from: utf8)
    }

    deinit {
        entries.deallocate()
        bytes.deallocate()
    }

    /// The operation a word stands for.
    @inline(__always)
    func operation(_ word: UnsafeRawPointer?, _ length: Int) -> Operation? {
        guard let word else { return nil }
        for entry in entries where entry.length == length {
            if length == 0 || memcmp(word, bytes.baseAddress! + entry.start, length) == 0 { return entry.operation }
        }
        return nil
    }
}
