// Owns the conditions of the mapping key `where`, and whether an event meets them.

import CSimdjson
import Records

/// One condition, compiled.
struct ConditionStep: Sendable, BitwiseCopyable {
    enum Test: Sendable, BitwiseCopyable {
        /// The value is one of these of ``Conditions``.
        case isOneOf(first: Int, count: Int)
        /// There is a value that is not null; or there is none.
        case exists(Bool)
    }

    /// The slot of the field; −1: a header.
    let slot: Int
    /// Index of the header's name in ``DecodePlan/headers``.
    let header: Int
    let test: Test
}

/// The compiled conditions of a mapping, of which an event must meet all.
final class Conditions: Sendable {
    /// A word that a value may equal: its text, and the integer or boolean that it is the JSON text of.
    struct Scalar: Sendable, BitwiseCopyable {
        let isInteger: Bool
        let integer: Int64
        /// 1: true, 0: false, −1: none of them.
        let boolean: Int8
    }

    let steps: PlanTable<ConditionStep>
    /// The words of all tests, one after the other.
    let texts: [String]
    let words: NameTable
    let scalars: PlanTable<Scalar>

    init(_ steps: [ConditionStep], words: [String]) {
        self.steps = PlanTable(steps)
        texts = words
        self.words = NameTable(words)
        scalars = PlanTable(
            words.map { word in
                let integer = Int64(word).flatMap { String($0) == word ? $0 : nil }
                return Scalar(
                    isInteger: integer != nil, integer: integer ?? 0, boolean: word == "true" ? 1 : word == "false" ? 0 : -1)
            })
    }
}

/// Whether an event meets a mapping's conditions.
enum ConditionResult {
    case met
    case notMet
    /// Not met only because the event lacks fields. A Delete may carry nothing but its key.
    case lacksFields
}

/// The conditions as a decoder uses them: plain pointers.
struct ConditionReader {
    let steps: UnsafeBufferPointer<ConditionStep>
    private let words: UnsafePointer<sj_name>
    private let scalars: UnsafePointer<Conditions.Scalar>

    init(_ conditions: Conditions) {
        steps = UnsafeBufferPointer(start: conditions.steps.start, count: conditions.steps.count)
        words = conditions.words.names
        scalars = conditions.scalars.start
    }

    /// Whether a value passes a test.
    /// - Returns: `nil` where it fails because there is no value, or null.
    func passes(_ value: sj_value, _ test: ConditionStep.Test) -> Bool? {
        let isThere = Int(value.type) > SJ_NULL
        switch test {
        case .exists(let wanted): return isThere == wanted ? true : isThere ? false : nil
        case .isOneOf(let first, let count): return isThere ? position(of: value, first, count) != nil : nil
        }
    }

    /// The position, among `count` words from `first` on, of the word that a value equals: a text, or an integer or a boolean that is
    /// written so. `nil`: none.
    func position(of value: sj_value, _ first: Int, _ count: Int) -> Int? {
        var value = value
        switch Int(value.type) {
        case SJ_STRING:
            let word = sj_word(&value, words + first, count)
            return word < 0 ? nil : word
        case SJ_INT64:
            let integer = Int64(bitPattern: value.bits)
            return (0..<count).first { scalars[first + $0].isInteger && scalars[first + $0].integer == integer }
        case SJ_BOOL: return (0..<count).first { Int(scalars[first + $0].boolean) == Int(value.bits) }
        default: return nil
        }
    }
}
