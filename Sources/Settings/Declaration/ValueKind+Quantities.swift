// Owns the kinds with a unit in their text: durations and byte counts.

import Platform

extension ValueKind where Value == Duration {
    /// A span of time: `500ms`, `20s`, `5m`, `1h`, or a number of seconds.
    public static func duration(in range: ClosedRange<Duration> = .zero ... .seconds(Int64.max)) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound, most: range.upperBound == .seconds(Int64.max) ? nil : range.upperBound, show: Quantity.shown)
        let schema = JSONSchema.number(
            "number", pattern: Quantity.durations, least: bounds.least.map { .number($0.inSeconds) },
            most: bounds.most.map { .number($0.inSeconds) })
        return bounded(
            "duration", bounds, mustBe: "a duration such as 500ms, 20s, 5m or a number of seconds", schema, Quantity.duration)
    }
}

extension ValueKind where Value == Int {
    /// A count of bytes: `64MiB`, `512KiB`, or a plain number.
    /// - Parameter range: the allowed values in bytes; `.max`: no upper bound.
    public static func bytes(in range: ClosedRange<Int> = 0 ... .max) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound, most: range.upperBound == .max ? nil : range.upperBound, show: Quantity.shown(bytes:))
        let schema = JSONSchema.number(
            "number", pattern: Quantity.byteCounts, least: bounds.least.map { .integer($0) },
            most: bounds.most.map { .integer($0) })
        return bounded(
            "bytes", bounds, mustBe: "a number of bytes such as 65536, 64KiB or 1GiB (units B, KiB, MiB, GiB)", schema,
            Quantity.bytes)
    }
}

/// Numbers with units, read and written.
enum Quantity {
    /// Nanoseconds of each unit, the longest first.
    private static let spans: [(unit: String, size: Int64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
        ("us", 1_000), ("ns", 1),
    ]
    private static let sizes: [(unit: String, size: Int)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)]

    /// What ``duration(_:)`` and ``bytes(_:)`` read, as regular expressions.
    static let durations = pattern(spans.map(\.unit))
    static let byteCounts = pattern(sizes.map(\.unit))

    private static func pattern(_ units: [String]) -> String {
        "([-+]?[0-9][0-9_]*|\(Decimal.pattern))( ?(\(units.joined(separator: "|"))))?"
    }

    static func duration(_ text: String) -> Duration? {
        amount(text, spans, plain: 1_000_000_000) { Int64(exactly: $0.rounded()) }.map { .nanoseconds($0) }
    }

    /// 1.5GiB is a whole number of bytes, 1.5 is not.
    static func bytes(_ text: String) -> Int? { amount(text, sizes, plain: 1) { Int(exactly: $0) } }

    /// - Parameters:
    ///   - plain: the size of a number without a unit.
    ///   - whole: makes a product with a fraction whole, or refuses it.
    private static func amount<Number: FixedWidthInteger>(
        _ text: String, _ units: [(unit: String, size: Number)], plain: Number, whole: (Double) -> Number?
    ) -> Number? {
        let (digits, unit) = parts(text)
        guard let size = unit.isEmpty ? plain : units.first(where: { $0.unit == unit })?.size else { return nil }
        if let number = Decimal.whole(digits) {
            let (product, overflow) = Number(number).multipliedReportingOverflow(by: size)
            return overflow ? nil : product
        }
        return Decimal.fraction(digits).flatMap { whole($0 * Double(size)) }
    }

    /// In the longest unit that leaves no fraction.
    static func shown(_ duration: Duration) -> String {
        guard duration != .zero else { return "0s" }
        let magnitude = Int64((duration < .zero ? .zero - duration : duration).nanoseconds)
        let nanoseconds = duration < .zero ? -magnitude : magnitude
        for (unit, span) in spans where nanoseconds % span == 0 { return "\(nanoseconds / span)\(unit)" }
        return "\(nanoseconds)ns"
    }

    /// In the largest unit that leaves no fraction.
    static func shown(bytes: Int) -> String {
        for (unit, size) in sizes where bytes != 0 && size > 1 && bytes % size == 0 { return "\(bytes / size)\(unit)" }
        return String(bytes)
    }

    /// The number and the letters after it; a space may stand between.
    private static func parts(_ text: String) -> (digits: String, unit: String) {
        let unit = String(text.reversed().prefix { $0.isASCII && $0.isLetter }.reversed())
        var digits = text.dropLast(unit.count)
        if digits.last == " ", !unit.isEmpty { digits = digits.dropLast() }
        return (String(digits), unit)
    }
}
