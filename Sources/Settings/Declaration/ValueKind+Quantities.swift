// Owns the kinds with a unit in their text: durations and byte counts.

import Platform

extension ValueKind where Value == Duration {
    /// A span of time: `500ms`, `20s`, `5m`, `1h`, or a number of seconds.
    public static func duration(in range: ClosedRange<Duration> = .zero ... .seconds(Int64.max)) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound, most: range.upperBound == .seconds(Int64.max) ? nil : range.upperBound, show: Quantity.shown)
        return ValueKind(typeName: "duration", bounds: bounds.words) { raw, reading in
            bounds.checked(
                reading.convert(raw, mustBe: "a duration such as 500ms, 20s, 5m or a number of seconds", Quantity.duration),
                of: raw,
                in: &reading)
        } show: { duration, secrecy in
            secrecy.covered(Quantity.shown(duration))
        }
    }

    /// A span of time of at least `least`.
    public static func duration(atLeast least: Duration) -> ValueKind { duration(in: least ... .seconds(Int64.max)) }
}

extension ValueKind where Value == Int {
    /// A count of bytes: `64MiB`, `512KiB`, or a plain number.
    /// - Parameter range: the allowed values in bytes; `.max`: no upper bound.
    public static func bytes(in range: ClosedRange<Int> = 0 ... .max) -> ValueKind {
        let bounds = Bounds(
            least: range.lowerBound, most: range.upperBound == .max ? nil : range.upperBound, show: Quantity.shown(bytes:))
        return ValueKind(typeName: "bytes", bounds: bounds.words) { raw, reading in
            bounds.checked(
                reading.convert(
                    raw, mustBe: "a number of bytes such as 65536, 64KiB or 1GiB (units B, KiB, MiB, GiB)", Quantity.bytes),
                of: raw, in: &reading)
        } show: { count, secrecy in
            secrecy.covered(Quantity.shown(bytes: count))
        }
    }
}

/// Numbers with units, read and written.
enum Quantity {
    /// Nanoseconds of each unit, the longest first.
    private static let spans: [(unit: String, nanoseconds: Int64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
        ("us", 1_000), ("ns", 1),
    ]
    private static let sizes: [(unit: String, bytes: Int)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)]

    static func duration(_ text: String) -> Duration? {
        let (digits, unit) = parts(text)
        guard let scale = unit.isEmpty ? 1_000_000_000 : spans.first(where: { $0.unit == unit })?.nanoseconds else { return nil }
        if let whole = Decimal.whole(digits) {
            let (product, overflow) = Int64(whole).multipliedReportingOverflow(by: scale)
            return overflow ? nil : .nanoseconds(product)
        }
        return Decimal.fraction(digits).flatMap { Int64(exactly: ($0 * Double(scale)).rounded()) }.map { .nanoseconds($0) }
    }

    static func bytes(_ text: String) -> Int? {
        let (digits, unit) = parts(text)
        guard let scale = unit.isEmpty ? 1 : sizes.first(where: { $0.unit == unit })?.bytes else { return nil }
        if let whole = Decimal.whole(digits) {
            let (product, overflow) = whole.multipliedReportingOverflow(by: scale)
            return overflow ? nil : product
        }
        // 1.5GiB is a whole number of bytes, 1.5 is not.
        return Decimal.fraction(digits).flatMap { Int(exactly: $0 * Double(scale)) }
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
