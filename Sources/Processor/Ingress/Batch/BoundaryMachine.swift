// Finds where events begin and end in a body that arrives in pieces.

import Glibc

/// How events stand in a body.
enum BatchFormat: Sendable {
    /// One JSON document a line. Lines of white space are none.
    case lines
    /// One JSON array, whose elements are the events.
    case array
}

/// Splits a body into events, wherever its pieces are cut. Pure: it looks at each byte once and keeps none.
///
/// In an array it counts brackets and knows strings, and no more: whether an element is JSON is the decoder's business. Of well-formed
/// arrays the boundaries are exact; of others every element up to the first that is malformed is.
struct BoundaryMachine: ~Copyable {
    enum Step: Equatable {
        /// The piece ends inside an event: these are its bytes so far, or more of them.
        case part(Range<Int>)
        /// An event ends with these bytes; go on at `next`.
        case event(Range<Int>, next: Int)
        /// The piece holds no more of any event.
        case nothing
        /// This is no batch from here on.
        case broken(Fault)
    }

    enum End: Equatable {
        case complete
        /// What has been handed out in parts is the last event.
        case event
        case broken(Fault)
    }

    enum Fault: String, Equatable {
        case noArray = "The body is no JSON array."
        case missingElement = "The array lacks an element: a comma has none before or behind it."
        case missingComma = "The array lacks a comma behind an element."
        case garbageBehind = "Something stands behind the array."
        case unclosed = "The body ends inside the array."
    }

    private enum Place {
        case outside
        /// Behind the opening bracket.
        case first
        case element
        case afterElement
        case afterComma
        case behind
    }

    private enum Kind { case container, text, word }

    private let format: BatchFormat
    private var place = Place.outside
    private var kind = Kind.container
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    init(_ format: BatchFormat) { self.format = format }

    /// What lies in `piece` from `start` on.
    mutating func pieceRead(_ piece: UnsafeRawBufferPointer, from start: Int) -> Step {
        switch format {
        case .lines: line(piece, start)
        case .array: element(piece, start)
        }
    }

    borrowing func bodyEnded() -> End {
        switch (format, place) {
        case (.lines, .element): .event
        case (.lines, _), (.array, .outside), (.array, .behind): .complete
        case (.array, _): .broken(.unclosed)
        }
    }

    private mutating func line(_ piece: UnsafeRawBufferPointer, _ start: Int) -> Step {
        var first = start
        if place != .element {
            while first < piece.count, Self.isSpace(piece[first]) { first += 1 }
            if first == piece.count { return .nothing }
        }
        let rest = piece.count - first
        guard rest > 0, let found = memchr(piece.baseAddress! + first, 0x0A, rest) else {
            place = .element
            return .part(first..<piece.count)
        }
        place = .outside
        let end = UnsafeRawPointer(found) - piece.baseAddress!
        return .event(first..<end, next: end + 1)
    }

    private mutating func element(_ piece: UnsafeRawBufferPointer, _ start: Int) -> Step {
        var at = start
        while place != .element {
            while at < piece.count, Self.isSpace(piece[at]) { at += 1 }
            if at == piece.count { return .nothing }
            let byte = piece[at]
            switch (place, byte) {
            case (.outside, UInt8(ascii: "[")): place = .first
            case (.outside, _): return .broken(.noArray)
            case (.first, UInt8(ascii: "]")), (.afterElement, UInt8(ascii: "]")): place = .behind
            case (.first, UInt8(ascii: ",")), (.afterComma, UInt8(ascii: ",")), (.afterComma, UInt8(ascii: "]")):
                return .broken(.missingElement)
            case (.afterElement, UInt8(ascii: ",")): place = .afterComma
            case (.afterElement, _): return .broken(.missingComma)
            case (.behind, _): return .broken(.garbageBehind)
            default:
                begin(with: byte)
                return inside(piece, first: at, from: kind == .word ? at : at + 1)
            }
            at += 1
        }
        return inside(piece, first: at, from: at)
    }

    private mutating func begin(with byte: UInt8) {
        place = .element
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

    /// Looks for the end of the element that begins, or goes on, at `first`.
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
        place = .afterElement
        return .event(range, next: range.upperBound)
    }

    /// JSON's white space.
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
}
