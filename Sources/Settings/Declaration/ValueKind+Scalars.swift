// Owns the kinds of single texts: texts, paths, numbers, flags and choices.

import Platform

extension ValueKind where Value == String {
    /// Any text, also an empty one. Numbers and `true` need no quotes.
    public static var string: ValueKind {
        ValueKind(typeName: "text") { raw, reading in
            reading.text(raw, mustBe: "a text")
        } show: { text, secrecy in
            Shown.yaml(secrecy.covered(text))
        }
    }

    /// A path. A relative one from the file, and a default, begins at the file's directory; one from the environment at the working
    /// directory. An empty path stays empty.
    public static var path: ValueKind {
        ValueKind(typeName: "path") { raw, reading in
            reading.text(raw, mustBe: "a path").map { joined(reading.directory, $0) }
        } show: { text, secrecy in
            Shown.yaml(secrecy.covered(text))
        } settle: { path, directory in
            joined(directory, path)
        }
    }

    private static func joined(_ directory: String, _ path: String) -> String {
        guard !directory.isEmpty, !path.isEmpty, !path.hasPrefix("/") else { return path }
        let relative = path.hasPrefix("./") ? String(path.dropFirst(2)) : path
        return directory.hasSuffix("/") ? directory + relative : "\(directory)/\(relative)"
    }
}

extension ValueKind where Value == Bool {
    /// `true` or `false`.
    public static var bool: ValueKind {
        ValueKind(typeName: "flag", bounds: "true or false", schema: .flag) { raw, reading in
            reading.convert(raw, mustBe: "true or false") { ["true": true, "false": false][$0.lowercased()] }
        } show: { flag, secrecy in
            secrecy.covered(flag ? "true" : "false")
        }
    }
}

extension ValueKind where Value == Int {
    /// A whole number in decimal; `_` may stand between digits.
    /// - Parameter range: what is allowed; `.min` and `.max` mean that side has no bound.
    public static func int(in range: ClosedRange<Int> = .min ... .max) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound == .min ? nil : range.lowerBound, most: range.upperBound == .max ? nil : range.upperBound
        ) { String($0) }
        let schema = JSONSchema.number(
            "integer", pattern: "[-+]?[0-9][0-9_]*", least: bounds.least.map { .integer($0) },
            most: bounds.most.map { .integer($0) })
        return bounded("integer", bounds, mustBe: bounds.mustBe("a whole number"), schema, Decimal.whole)
    }
}

extension ValueKind where Value == Double {
    /// A number in decimal, with or without fraction and exponent.
    /// - Parameter range: what is allowed; infinite ends mean that side has no bound.
    public static func double(in range: ClosedRange<Double> = -.infinity ... .infinity) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound.isFinite ? range.lowerBound : nil, most: range.upperBound.isFinite ? range.upperBound : nil,
            show: Decimal.shown)
        let schema = JSONSchema.number(
            "number", pattern: Decimal.pattern, least: bounds.least.map { .number($0) }, most: bounds.most.map { .number($0) })
        return bounded("number", bounds, mustBe: bounds.mustBe("a number"), schema, Decimal.fraction)
    }
}

extension ValueKind where Value: LosslessStringConvertible {
    /// One text in a form of its own.
    /// - Parameters:
    ///   - typeName: the type as the documentation names it.
    ///   - wanted: what the text must be, with an example.
    public static func form(_ typeName: String, mustBe wanted: String) -> ValueKind {
        ValueKind(typeName: typeName) { raw, reading in
            reading.convert(raw, mustBe: wanted) { Value($0) }
        } show: { value, secrecy in
            Shown.yaml(secrecy.covered(value.description))
        }
    }
}

extension ValueKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the type's cases, by name.
    public static var choice: ValueKind {
        let names = Value.allCases.map(\.rawValue)
        let words = Shown.choices(names)
        return ValueKind(typeName: "choice", bounds: words, schema: .choice(names)) { raw, reading in
            guard let text = reading.text(raw, mustBe: words) else { return nil }
            if let value = Value(rawValue: text) { return value }
            let hint = Nearest.name(to: text, among: names).map { "; did you mean \($0)?" } ?? ""
            reading.report("must be \(words), is \(reading.shown(text))\(hint)", at: raw)
            return nil
        } show: { value, secrecy in
            Shown.yaml(secrecy.covered(value.rawValue))
        }
    }
}

/// Decimal numbers, stricter than the standard library's: no hexadecimal, no `nan`, no leading zeros.
enum Decimal {
    static func whole(_ text: String) -> Int? {
        var digits = text.utf8[...]
        if digits.first == UInt8(ascii: "-") || digits.first == UInt8(ascii: "+") { digits = digits.dropFirst() }
        guard digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
        return isGrouped(digits) ? Int(text.filter { $0 != "_" }) : nil
    }

    /// What ``fraction(_:)`` reads, as a regular expression.
    static let pattern = "[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?"

    static func fraction(_ text: String) -> Double? {
        let allowed = Set("0123456789+-.eE".utf8)
        guard text.utf8.allSatisfy(allowed.contains), let number = Double(text), number.isFinite else { return nil }
        return number
    }

    /// Digits, with single underscores between them.
    private static func isGrouped(_ text: Substring.UTF8View) -> Bool {
        let groups = text.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        return groups.allSatisfy { group in !group.isEmpty && group.allSatisfy { (0x30...0x39).contains($0) } }
    }

    static func shown(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : number.description
    }
}

/// The least and the most a value may be.
struct Bounds<Value: Comparable & Sendable>: Sendable {
    let least: Value?
    let most: Value?
    let show: @Sendable (Value) -> String

    /// `between 0 and 65535`, `at least 1`, `at most 9`, or nothing.
    var words: String {
        switch (least, most) {
        case (let least?, let most?): "between \(show(least)) and \(show(most))"
        case (let least?, nil): "at least \(show(least))"
        case (nil, let most?): "at most \(show(most))"
        case (nil, nil): ""
        }
    }

    /// `a whole number between 0 and 65535`
    func mustBe(_ noun: String) -> String { words.isEmpty ? noun : "\(noun) \(words)" }

    func contains(_ value: Value) -> Bool { least.map { value >= $0 } ?? true && most.map { value <= $0 } ?? true }
}

extension ValueKind where Value: Comparable {
    /// Values within bounds, read from text with `convert`, which returns `nil` for a text that is no such value.
    static func bounded(
        _ typeName: String, _ bounds: Bounds<Value>, mustBe wanted: String, _ schema: JSONSchema,
        _ convert: @escaping @Sendable (String) -> Value?
    ) -> ValueKind {
        ValueKind(typeName: typeName, bounds: bounds.words, schema: schema) { raw, reading in
            guard let value = reading.convert(raw, mustBe: wanted, convert) else { return nil }
            if bounds.contains(value) { return value }
            reading.report("must be \(bounds.words), is \(reading.secrecy.covered(bounds.show(value)))", at: raw)
            return nil
        } show: { value, secrecy in
            secrecy.covered(bounds.show(value))
        }
    }
}
