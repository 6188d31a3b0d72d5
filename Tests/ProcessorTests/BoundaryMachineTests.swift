// Proves where events begin and end, however a body is cut.

import TestSupport
import Testing

@testable import sluice

/// The result of a machine: the events' text, and its fault.
private struct Found: Equatable {
    var events: [String] = []
    var fault: BoundaryMachine.Fault?
}

/// Feeds `text` in pieces of these sizes, the last one with the rest.
private func split(_ text: String, _ format: BatchFormat, at sizes: [Int] = []) -> Found {
    var machine = BoundaryMachine(format)
    var found = Found()
    var carry: [UInt8] = []
    var rest = Array(text.utf8)[...]
    func read(_ piece: [UInt8]) -> Bool {
        piece.withUnsafeBytes { bytes in
            var at = 0
            while at < bytes.count {
                switch machine.pieceRead(bytes, from: at) {
                case .nothing: return true
                case .part(let range):
                    carry += bytes[range]
                    return true
                case .event(let range, let next):
                    found.events.append(String(decoding: carry + bytes[range], as: UTF8.self))
                    carry = []
                    at = next
                case .broken(let fault):
                    found.fault = fault
                    return false
                }
            }
            return true
        }
    }
    for size in sizes + [.max] {
        let piece = Array(rest.prefix(size))
        rest = rest.dropFirst(size)
        guard piece.isEmpty || read(piece) else { return found }
    }
    switch machine.bodyEnded() {
    case .complete: #expect(carry.isEmpty)
    case .event: found.events.append(String(decoding: carry, as: UTF8.self))
    case .broken(let fault): found.fault = fault
    }
    return found
}

@Suite struct BoundaryMachineTests {
    @Test(arguments: [
        ("", []), ("\n \r\n\t\n", []), ("{}", ["{}"]), ("{}\n", ["{}"]), ("  {}\n\n\n[1]\r\nx\n", ["{}", "[1]\r", "x"]),
        ("a\nb", ["a", "b"]), (" \n a", ["a"]),
    ])
    func lines(_ text: String, _ events: [String]) {
        #expect(split(text, .lines) == Found(events: events))
        #expect(split(text, .lines, at: Array(repeating: 1, count: text.utf8.count)) == Found(events: events))
    }

    @Test(
        arguments: [
            ("", [], nil), (" [ ] \n", [], nil), ("[{}]", ["{}"], nil), ("[{},{}]", ["{}", "{}"], nil),
            (
                #" [ {"a":[1,{"b":"]}\"\\"}]} , "x,]\"" ,12 , [[]] , tru]"#,
                [#"{"a":[1,{"b":"]}\"\\"}]}"#, #""x,]\"""#, "12", "[[]]", "tru"], nil
            ),
            ("{}", [], .noArray), ("x", [], .noArray), ("[,{}]", [], .missingElement), ("[{},]", ["{}"], .missingElement),
            ("[{},,{}]", ["{}"], .missingElement), ("[{} {}]", ["{}"], .missingComma), ("[{}}]", ["{}"], .missingComma),
            ("[{}]]", ["{}"], .trailingBytes), ("[] {}", [], .trailingBytes), ("[", [], .unclosed), ("[{}", ["{}"], .unclosed),
            ("[{},", ["{}"], .unclosed), (#"[{},{"a":"]"#, ["{}"], .unclosed), ("[1", [], .unclosed), (#"["a\"]"#, [], .unclosed),
        ] as [(String, [String], BoundaryMachine.Fault?)])
    func arrays(_ text: String, _ events: [String], _ fault: BoundaryMachine.Fault?) {
        #expect(split(text, .array) == Found(events: events, fault: fault))
        #expect(split(text, .array, at: Array(repeating: 1, count: text.utf8.count)) == Found(events: events, fault: fault))
    }

    @Test func randomArraysInRandomPieces() {
        let seed = testSeed("randomArraysInRandomPieces")
        var random = SeededRandom(seed: seed)
        for round in 0..<300 {
            let events = (0..<Int.random(in: 0...12, using: &random)).map { _ in value(3, &random) }
            let space = { (random: inout SeededRandom) in [" ", "", "", "\n", "\t \r"].randomElement(using: &random)! }
            let array =
                space(&random) + "[" + space(&random)
                + events.map { $0 + space(&random) }.joined(separator: "," + space(&random)) + "]" + space(&random)
            let lines = events.map { $0.replacing("\n", with: " ") }
            for (text, format, expected) in [
                (array, BatchFormat.array, events), (lines.joined(separator: "\n"), .lines, lines),
            ] {
                var sizes: [Int] = []
                while sizes.reduce(0, +) < text.utf8.count { sizes.append(Int.random(in: 1...20, using: &random)) }
                #expect(split(text, format, at: sizes) == Found(events: expected), "seed \(seed), round \(round): \(text)")
            }
        }
    }

    /// A JSON value with strings full of brackets, quotes and escapes.
    private func value(_ depth: Int, _ random: inout SeededRandom) -> String {
        switch Int.random(in: 0...(depth > 0 ? 5 : 2), using: &random) {
        case 0: return "\(Int.random(in: -99...99, using: &random))"
        case 1: return ["true", "null", "1e3"].randomElement(using: &random)!
        case 2, 3:
            let parts = ["a", "]", "}", ",", "{", "[", #"\""#, #"\\"#, "é", #"\u005d"#, "😀"]
            let text = (0..<Int.random(in: 0...6, using: &random)).map { _ in parts.randomElement(using: &random)! }
            return "\"\(text.joined())\""
        case 4:
            let members = (0..<Int.random(in: 0...3, using: &random)).map { "\"k\($0)\": \(value(depth - 1, &random))" }
            return "{\(members.joined(separator: ", "))}"
        default:
            return
                "[\((0..<Int.random(in: 0...3, using: &random)).map { _ in value(depth - 1, &random) }.joined(separator: " ,"))]"
        }
    }
}
