// Finds where events begin and end in a body that arrives in pieces.

import Glibc

/// How a body holds its events.
enum BatchFormat: Sendable {
    /// One JSON document a line. Lines of white space hold no event.
    case lines
    /// One JSON array, whose elements are the events.
    case array
}

/// Splits a body into events, however it is cut into pieces. It reads each byte once and keeps none.
///
/// In an array it counts brackets and recognises strings; the decoder checks whether an element is JSON. In a malformed array the
/// boundaries are exact up to the first malformed element.
struct BoundaryMachine: ~Copyable {
    enum Step: Equatable {
        /// The piece ends inside an event: the next of its bytes.
        case part(Range<Int>)
        /// An event ends with these bytes; the search continues at `next`.
        case event(Range<Int>, next: Int)
        /// No event begins in the rest of the piece.
        case nothing
        /// The body is no batch from here on.
        case broken(Fault)
    }

    enum End: Equatable {
        case complete
        /// The parts returned last are the last event.
        case event
        case broken(Fault)
    }

    enum Fault: String, Equatable {
        case halfMark = "The body begins with a part of a byte order mark."
        case noArray = "The body is not a JSON array."
        case missingElement = "An element is missing before or after a comma of the array."
        case missingComma = "A comma is missing after an element of the array."
        case trailingBytes = "The body continues after the array."
        case unclosed = "The body ends inside the array."
    }

    private enum Position {
        case outside
        /// After the opening bracket.
        case first
        case element
        case afterElement
        case afterComma
        case afterArray
    }

    private enum Kind { case container, text, word }

    private let format: BatchFormat
    private var mark: ByteOrderMark
    private var position = Position.outside
    private var kind = Kind.container
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    init(_ format: BatchFormat, mark: ByteOrderMark = ByteOrderMark()) { (self.format, self.mark) = (format, mark) }

    /// Reads `piece` from `start` on.
    mutating func pieceRead(_ piece: UnsafeRawBufferPointer, from start: Int) -> Step {
        guard let start = mark.end(in: piece, from: start) else { return .broken(.halfMark) }
        return switch format {
        case .lines: line(piece, start)
        case .array: element(piece, start)
        }
    }

    borrowing func bodyEnded() -> End {
        switch (format, position) {
        case (.lines, .element): .event
        case (.lines, _), (.array, .outside), (.array, .afterArray): .complete
        case (.array, _): .broken(.unclosed)
        }
    }

    private mutating func line(_ piece: UnsafeRawBufferPointer, _ start: Int) -> Step {
        var first = start
        if position != .element {
            while first < piece.count, Self.isSpace(piece[first]) { first += 1 }
            if first == piece.count { return .nothing }
        }
        let rest = piece.count - first
        guard rest > 0, let found = memchr(piece.baseAddress! + first, 0x0A, rest) else {
            position = .element
            return .part(first..<piece.count)
        }
        position = .outside
        let end = UnsafeRawPointer(found) - piece.baseAddress!
        return .event(first..<end, next: end + 1)
    }

    private mutating func element(_ piece: UnsafeRawBufferPointer, _ start: Int) -> Step {
        var at = start
        while position != .element {
            while at < piece.count, Self.isSpace(piece[at]) { at += 1 }
            if at == piece.count { return .nothing }
            let byte = piece[at]
            switch (position, byte) {
            case (.outside, UInt8(ascii: "[")): position = .first
            case (.outside, _): return .broken(.noArray)
            case (.first, UInt8(ascii: "]")), (.afterElement, UInt8(ascii: "]")): position = .afterArray
            case (.first, UInt8(ascii: ",")), (.afterComma, UInt8(ascii: ",")), (.afterComma, UInt8(ascii: "]")):
                return .broken(.missingElement)
            case (.afterElement, UInt8(ascii: ",")): position = .afterComma
            case (.afterElement, _): return .broken(.missingComma)
            case (.afterArray, _): return .broken(.trailingBytes)
            default:
                begin(with: byte)
                return inside(piece, first: at, from: kind == .word ? at : at + 1)
            }
            at += 1
        }
        return inside(piece, first: at, from: at)
    }

    private mutating func begin(with byte: UInt8) {
        position = .element
        isEscaped = false
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            (kind, depth, isInString) = (.container, 1, false)
        case UInt8(ascii: "\""):
            (kind, depth, isInString) = (.text, 0, true)
        default:
            (kind, depth, isInString) = (.word, 0, false)
        }
    }

    /// Searches for the end of the element that begins, or continues, at `first`.
    private mutating func inside(_ piece: UnsafeRawBufferPointer, first: Int, from start: Int) -> Step {
        var at = start
        while at < piece.count {
            let byte = piece[at]
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                    if kind == .text { return ended(first..<at + 1) }
                }
            } else if kind == .word {
                if Self.isSpace(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]") { return ended(first..<at) }
            } else {
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 { return ended(first..<at + 1) }
                default: break
                }
            }
            at += 1
        }
        return .part(first..<piece.count)
    }

    private mutating func ended(_ range: Range<Int>) -> Step {
        position = .afterElement
        return .event(range, next: range.upperBound)
    }

    /// Where a second document begins, if `text` begins with an object or an array and another one follows.
    static func secondDocument(in text: UnsafeRawBufferPointer) -> Int? {
        var machine = BoundaryMachine(.array)
        machine.position = .afterComma
        guard case .event(_, let end) = machine.pieceRead(text, from: 0), machine.kind == .container,
            let next = text[end...].firstIndex(where: { !isSpace($0) })
        else { return nil }
        return text[next] == UInt8(ascii: "{") || text[next] == UInt8(ascii: "[") ? next : nil
    }

    /// JSON's white space.
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
}

/// The byte order mark that a body may begin with, and which is passed over (RFC 8259, section 8.1).
struct ByteOrderMark {
    private var isOver = false
    private var matched = 0

    /// Passes over the mark, or the part of it that `piece` has from `start` on.
    /// - Returns: where it ends; `nil`: the body begins with a part of a mark.
    mutating func end(in piece: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var at = start
        while !isOver, at < piece.count {
            if piece[at] == UInt8(truncatingIfNeeded: 0xBF_BB_EF >> (8 * matched)) {
                (at, matched) = (at + 1, matched + 1)
                isOver = matched == 3
            } else {
                isOver = true
                if matched > 0 { return nil }
            }
        }
        return at
    }
}
