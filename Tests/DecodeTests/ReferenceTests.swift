// Compares the decoder with a slow, independent one (Foundation's JSON), on random and on damaged events.

import Decode
import Foundation
import Records
import TestSupport
import Testing

@Suite struct ReferenceTests {
    private let decoder: Decoder

    init() throws { decoder = Decoder(mapping: try compile(messagesText)) }

    @Test func `random events decode as in the reference`() {
        let seed = testSeed("random events")
        var generator = EventGenerator(random: SeededRandom(seed: seed))
        for round in 0..<60 {
            let events = (0..<50).map { _ in generator.event() }
            let samples = events.map { Sample(bytes: Array($0.utf8)) }
            let outcomes = decoder.outcomes(samples)
            #expect(outcomes.count == samples.count)
            for (event, outcome) in zip(events, outcomes) {
                let expected = Reference.outcome(Array(event.utf8))
                #expect(expected.allows(outcome), "seed \(seed), round \(round): \(event)")
                check(event, ingressAgreesWith: outcome)
            }
        }
    }

    /// Random bytes are changed, removed or doubled. Both decoders must agree on whether the result is an event, and on its row.
    @Test func `damaged events decode as in the reference`() {
        let seed = testSeed("damaged events")
        var generator = EventGenerator(random: SeededRandom(seed: seed))
        var accepted = 0
        for round in 0..<60 {
            let events = (0..<50).map { _ in generator.damaged() }
            let outcomes = decoder.outcomes(events.map { Sample(bytes: $0) })
            for (bytes, outcome) in zip(events, outcomes) {
                let expected = Reference.outcome(bytes)
                let text = String(decoding: bytes, as: UTF8.self)
                // Foundation does not report a name that appears twice.
                if outcome == .fault("duplicate_field") {
                    #expect(Reference.namesTwice(text), "seed \(seed), round \(round): \(text)")
                    continue
                }
                // Foundation accepts a comma before a closing bracket, which is not JSON.
                if outcome == .fault("malformed_json"), text.contains(#/,\s*[}\]]/#) { continue }
                // Foundation refuses a number beyond the range of a double, also in a field that nobody maps.
                if text.contains(#/[0-9][eE]\+?[0-9]{3}/#) { continue }
                if case .row = outcome { accepted += 1 }
                #expect(expected.allows(outcome), "seed \(seed), round \(round): \(text)")
            }
        }
        #expect(accepted > 0)
    }

    private func check(_ event: String, ingressAgreesWith outcome: Outcome) {
        let (fault, key) = validate(decoder, Array(event.utf8))
        switch outcome {
        case .fault(let reason): #expect(fault?.reason == reason && key.isEmpty, "\(event)")
        case .row(let row):
            #expect(fault == nil, "\(event)")
            #expect(Int32(String(decoding: key, as: UTF8.self)).map(Cell.int4) == row.cells[0], "\(event)")
        }
    }
}

/// The reference's result for an event.
enum Verdict {
    case row(Row)
    /// A fault with one of these reasons.
    case fault([String])

    static func fault(_ reason: String) -> Verdict { .fault([reason]) }

    func allows(_ outcome: Outcome) -> Bool {
        switch (self, outcome) {
        case (.row(let expected), .row(let row)): expected == row
        case (.fault(let reasons), .fault(let reason)): reasons.contains(reason)
        default: false
        }
    }
}

/// Decodes an event with the default mapping, using Foundation's JSON.
enum Reference {
    /// Not JSON: Foundation does not tell an invalid text from invalid syntax.
    private static let refused = Verdict.fault(["malformed_json", "invalid_text"])

    static func outcome(_ bytes: [UInt8]) -> Verdict {
        // Foundation accepts UTF-16 and a byte order mark; an event is UTF-8 without one.
        if bytes.contains(0) || bytes.starts(with: [0xEF, 0xBB, 0xBF]) { return refused }
        guard let json = try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed]) else {
            return refused
        }
        guard let event = json as? [String: Any] else { return .fault("not_an_object") }
        guard let action = event["action"] else { return .fault("missing_field") }
        guard let word = action as? String else { return .fault("wrong_type") }
        let operations: [String: Records.Operation] = [
            "Create": .create, "Update": .update, "Upsert": .upsert, "Delete": .delete,
        ]
        guard let operation = operations[word] else { return .fault("unknown_action") }
        var data: [String: Any] = [:]
        if operation != .delete, let value = event["data"], !(value is NSNull) {
            guard let object = value as? [String: Any] else { return .fault("wrong_type") }
            data = object
        }
        guard let id = event["message_id"] else { return .fault("missing_field") }
        guard let number = id as? NSNumber, !["c", "B"].contains(String(cString: number.objCType)) else {
            return .fault("wrong_type")
        }
        // Foundation returns a Double for numbers that do not fit an integer, and for some of nineteen digits that would: 1e20
        // and its decimal digits cannot be distinguished.
        if abs(number.doubleValue) >= 0x1p53 { return .fault(["wrong_type", "out_of_range"]) }
        if ["d", "f"].contains(String(cString: number.objCType)) { return .fault("wrong_type") }
        guard let exact = Int32(exactly: number) else { return .fault("out_of_range") }
        if operation == .delete { return .row(Row(operation: operation, cells: [.int4(exact), .absent, .absent])) }
        var cells = [Cell.int4(exact)]
        for name in ["name", "message"] {
            guard let value = data[name] else { return .fault("missing_field") }
            guard let text = value as? String else { return .fault("wrong_type") }
            if text.utf8.contains(0) { return .fault("invalid_text") }
            cells.append(.text(text))
        }
        return .row(Row(operation: operation, cells: cells))
    }

    static func namesTwice(_ text: String) -> Bool {
        ["action", "message_id", "data", "name", "message"].contains { text.components(separatedBy: "\"\($0)\"").count > 2 }
            || text.contains("\\u")
    }
}

/// Makes random events: mostly valid ones, with everything JSON allows, and some with known faults.
struct EventGenerator {
    var random: SeededRandom

    private mutating func pick<T>(_ choices: T...) -> T { choices[Int.random(in: 0..<choices.count, using: &random)] }

    private mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

    private mutating func space() -> String { chance(3) ? pick(" ", "\n", "\t", "\r\n", "  ") : "" }

    mutating func event() -> String {
        var fields: [(String, String)] = []
        if !chance(20) {
            fields.append(
                (
                    "action",
                    chance(20) ? value(2) : pick("\"Create\"", "\"Update\"", "\"Upsert\"", "\"Delete\"", "\"Del\\u0065te\"")
                ))
        }
        if !chance(20) { fields.append(("message_id", chance(20) ? value(2) : number())) }
        if !chance(10) { fields.append(("data", chance(20) ? value(2) : data())) }
        for index in 0..<Int.random(in: 0...3, using: &random) { fields.append(("extra\(index)", value(4))) }
        fields.shuffle(using: &random)
        return object(fields)
    }

    private mutating func data() -> String {
        var fields: [(String, String)] = []
        if !chance(20) { fields.append(("name", chance(20) ? value(2) : string())) }
        if !chance(20) { fields.append(("message", chance(20) ? value(2) : string())) }
        for index in 0..<Int.random(in: 0...2, using: &random) { fields.append(("x\(index)", value(3))) }
        fields.shuffle(using: &random)
        return object(fields)
    }

    private mutating func object(_ fields: [(String, String)]) -> String {
        var parts: [String] = []
        for (name, value) in fields {
            // Any letter of a name may be written as an escape.
            let written = chance(15) ? String(format: "\\u%04x", name.unicodeScalars.first?.value ?? 0) + name.dropFirst() : name
            parts.append(space() + "\"" + written + "\"" + space() + ":" + space() + value + space())
        }
        return space() + "{" + (parts.isEmpty ? space() : parts.joined(separator: ",")) + "}" + space()
    }

    private mutating func value(_ depth: Int) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &random) {
        case 0: return pick("true", "false", "null")
        case 1: return number()
        case 2: return pick("0.5", "-1.25e3", "1E-7", "1.0", "123456789.125")
        case 3, 4: return string()
        case 5:
            let elements = (0..<Int.random(in: 0...3, using: &random)).map { _ in space() + value(depth - 1) + space() }
            return "[" + elements.joined(separator: ",") + "]"
        default:
            let fields = (0..<Int.random(in: 0...3, using: &random)).map { ("k\($0)", value(depth - 1)) }
            return object(fields)
        }
    }

    private mutating func number() -> String {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: pick("0", "-0", "1", "-1")
        case 1: pick("2147483647", "-2147483648", "2147483648", "-2147483649")
        case 2: pick("9223372036854775807", "-9223372036854775808", "4294967296")
        default: String(Int32.random(in: .min ... .max, using: &random))
        }
    }

    private mutating func string() -> String {
        var text = "\""
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            switch Int.random(in: 0..<12, using: &random) {
            case 0: text += pick("\\n", "\\t", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\r")
            case 1: text += pick("\\u00e9", "\\u20AC", "\\uD83D\\uDE00", "\\u007f", "\\u0001")
            case 2: text += pick("é", "€", "😀", "日本", "\u{10FFFF}", "e\u{301}")
            case 3: text += pick("{", "}", "[", "]", ",", ":", "\u{7f}", "'")
            case 4: text += chance(20) ? "\\u0000" : "x"
            default: text += String(UnicodeScalar(UInt8.random(in: 0x23...0x5B, using: &random)))
            }
        }
        return text + "\""
    }

    /// An event with up to three of its bytes changed, removed or doubled.
    mutating func damaged() -> [UInt8] {
        var bytes = Array(event().utf8)
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(bytes[at], at: at)
            default:
                bytes[at] = pick(
                    UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "}"), UInt8(ascii: ","), 0x80, 0, UInt8(ascii: "5"))
            }
        }
        return bytes
    }
}
