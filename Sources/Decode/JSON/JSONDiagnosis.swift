// Diagnoses a document that simdjson refused: the position and field of the fault, or that it is JSON all the same.

/// A strict parser of one JSON document (RFC 8259). It runs only on documents that simdjson refused: simdjson reports neither the
/// position nor the field, and it also refuses numbers that are JSON but do not fit 64 bits.
struct JSONDiagnosis {
    enum Result {
        /// Not JSON from this byte on.
        case malformed(at: Int)
        /// A string with bytes that are not UTF-8.
        case notUTF8(at: Int)
        /// A string with an unpaired surrogate.
        case loneSurrogate(at: Int)
        /// Nested deeper than the limit.
        case tooDeep
        /// JSON, with these numbers that do not fit 64 bits; with none, a valid document.
        case numbers([OversizedNumber])
    }

    /// A number that does not fit 64 bits.
    struct OversizedNumber {
        let range: Range<Int>
        let isInteger: Bool
    }

    private struct Frame {
        let isObject: Bool
        var key: Range<Int>?
        var index = 0
    }

    private enum Step { case value, key, afterValue }

    /// Ends the parsing.
    private struct Stop: Error { let result: Result }

    private let document: UnsafeRawBufferPointer
    private let depth: Int
    private var at = 0
    private var frames: [Frame] = []
    private var numbers: [OversizedNumber] = []

    init(_ document: UnsafeRawBufferPointer, depth: Int) {
        self.document = document
        self.depth = depth
    }

    /// What a text is that is a document of its own, of the depth that PostgreSQL's `json` takes at least.
    static func result(of text: UnsafeRawBufferPointer) -> Result {
        var diagnosis = JSONDiagnosis(text, depth: 512)
        return diagnosis.run()
    }

    /// Parses the document up to its first fault.
    mutating func run() -> Result {
        do throws(Stop) {
            try read()
            return .numbers(numbers)
        } catch {
            return error.result
        }
    }

    /// The index of the pointer to the field in which the parser stopped. Names written with escapes are not recognised.
    func field(among pointers: [JSONPointer]) -> Int? {
        var path: [String] = []
        for frame in frames {
            if let key = frame.key {
                path.append(String(decoding: document[key], as: UTF8.self))
            } else if frame.isObject {
                break
            } else {
                path.append(String(frame.index))
            }
        }
        while !path.isEmpty {
            if let index = pointers.firstIndex(where: { $0.tokens == path }) { return index }
            path.removeLast()
        }
        return nil
    }

    private mutating func read() throws(Stop) {
        var step = Step.value
        while true {
            skipSpace()
            switch step {
            case .value:
                step = try value()
            case .key:
                guard peek() == UInt8(ascii: "\"") else { throw malformed() }
                let start = at + 1
                try string()
                frames[frames.count - 1].key = start..<at - 1
                skipSpace()
                try take(UInt8(ascii: ":"))
                step = .value
            case .afterValue:
                guard let frame = frames.last else {
                    if at < document.count { throw malformed() }
                    return
                }
                let end = frame.isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")
                if peek() == end {
                    at += 1
                    frames.removeLast()
                } else {
                    try take(UInt8(ascii: ","))
                    frames[frames.count - 1].index += 1
                    frames[frames.count - 1].key = nil
                    step = frame.isObject ? .key : .value
                }
            }
        }
    }

    private mutating func value() throws(Stop) -> Step {
        switch peek() {
        case UInt8(ascii: "{"): return try open(isObject: true, end: UInt8(ascii: "}"))
        case UInt8(ascii: "["): return try open(isObject: false, end: UInt8(ascii: "]"))
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): try number()
        default: throw malformed()
        }
        return .afterValue
    }

    private mutating func open(isObject: Bool, end: UInt8) throws(Stop) -> Step {
        if frames.count == depth { throw Stop(result: .tooDeep) }
        at += 1
        skipSpace()
        if peek() == end {
            at += 1
            return .afterValue
        }
        frames.append(Frame(isObject: isObject))
        return isObject ? .key : .value
    }

    private mutating func word(_ word: StaticString) throws(Stop) {
        for index in 0..<word.utf8CodeUnitCount { try take(word.utf8Start[index]) }
    }

    private mutating func number() throws(Stop) {
        let start = at
        var isInteger = true
        if peek() == UInt8(ascii: "-") { at += 1 }
        if peek() == UInt8(ascii: "0") { at += 1 } else { try digits() }
        if peek() == UInt8(ascii: ".") {
            isInteger = false
            at += 1
            try digits()
        }
        if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
            isInteger = false
            at += 1
            if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
        let text = String(decoding: document[start..<at], as: UTF8.self)
        let fits = isInteger ? Int64(text) != nil || UInt64(text) != nil : Double(text)?.isFinite == true
        if !fits { numbers.append(OversizedNumber(range: start..<at, isInteger: isInteger)) }
    }

    private mutating func digits() throws(Stop) {
        let start = at
        while let byte = peek(), Self.isDigit(byte) { at += 1 }
        if at == start { throw malformed() }
    }

    private mutating func string() throws(Stop) {
        at += 1
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                return
            case UInt8(ascii: "\\"): try escape()
            case 0..<0x20: throw malformed()
            case 0..<0x80: at += 1
            default: try multibyte()
            }
        }
        throw malformed()
    }

    private mutating func escape() throws(Stop) {
        let start = at
        at += 1
        switch peek() {
        case UInt8(ascii: "u"):
            let unit = try hexUnit()
            guard (0xD800..<0xE000).contains(unit) else { return }
            let second = at
            guard unit < 0xDC00, peek() == UInt8(ascii: "\\") else { throw Stop(result: .loneSurrogate(at: start)) }
            at += 1
            guard peek() == UInt8(ascii: "u"), (0xDC00..<0xE000).contains(try hexUnit()) else {
                at = second
                throw Stop(result: .loneSurrogate(at: start))
            }
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"),
            UInt8(ascii: "r"), UInt8(ascii: "t"):
            at += 1
        default: throw malformed()
        }
    }

    /// The four digits after a `u`.
    private mutating func hexUnit() throws(Stop) -> UInt32 {
        at += 1
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek(), let digit = Character(UnicodeScalar(byte)).hexDigitValue else { throw malformed() }
            unit = unit << 4 | UInt32(digit)
            at += 1
        }
        return unit
    }

    /// One character of two to four bytes.
    private mutating func multibyte() throws(Stop) {
        var parser = Unicode.UTF8.ForwardParser()
        var rest = document[at...].makeIterator()
        guard case .valid(let character) = parser.parseScalar(from: &rest) else { throw Stop(result: .notUTF8(at: at)) }
        at += character.count
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private func malformed() -> Stop { Stop(result: .malformed(at: at)) }

    private func peek() -> UInt8? { at < document.count ? document[at] : nil }

    private mutating func take(_ byte: UInt8) throws(Stop) {
        guard peek() == byte else { throw malformed() }
        at += 1
    }

    private mutating func skipSpace() {
        while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }
}
