// Converts dates and timestamps to PostgreSQL's binary form.

/// The proleptic Gregorian calendar from year 1 on.
enum Calendar {
    private static let daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365]
    /// Days from 0001-01-01 to 2000-01-01, PostgreSQL's day zero (`POSTGRES_EPOCH_JDATE`).
    private static let epoch = 730_119

    static let microsecondsOfDay: Int64 = 86_400_000_000
    /// Days from 1970-01-01 to 2000-01-01.
    static let daysFrom1970: Int64 = 10_957
    /// What PostgreSQL can hold, from 4714-11-24 BC on (src/include/datatype/timestamp.h); infinities are beyond.
    private static let dates: Range<Int64> = -2_451_545..<2_145_031_949
    private static let timestamps: Range<Int64> = -211_813_488_000_000_000..<9_223_371_331_200_000_000

    /// `YYYY-MM-DD` or `YYYY-MM-DDZ`, as Debezium's IsoDate is; `infinity` or `-infinity` → days since 2000-01-01.
    static func date(_ text: UnsafeRawBufferPointer) throws(ValueFault) -> Int32 {
        if let infinity = infinity(text) { return infinity < 0 ? .min : .max }
        guard text.count == 10 || isZ(text, at: 10) else { throw .wrongType }
        return Int32(try days(text))
    }

    static func date(daysSince1970 days: Int64) throws(ValueFault) -> Int32 {
        let (date, overflows) = days.subtractingReportingOverflow(daysFrom1970)
        guard !overflows, dates.contains(date) else { throw .outOfRange }
        return Int32(date)
    }

    static func timestamp(microsecondsSince1970 microseconds: Int64) throws(ValueFault) -> Int64 {
        let (timestamp, overflows) = microseconds.subtractingReportingOverflow(daysFrom1970 * microsecondsOfDay)
        guard !overflows, timestamps.contains(timestamp) else { throw .outOfRange }
        return timestamp
    }

    /// `HH:MM`, `HH:MM:SS` or with a fraction, each also with `Z`, as Debezium's IsoTime is → microseconds since midnight; `24:00:00` is
    /// the end of the day.
    static func time(_ text: UnsafeRawBufferPointer) throws(ValueFault) -> Int64 {
        var at = 0
        let time = try timeOfDay(text, &at)
        guard at == text.count || isZ(text, at: at) else { throw .wrongType }
        guard time <= microsecondsOfDay else { throw .outOfRange }
        return time
    }

    /// ISO 8601 (`2024-02-29T23:59:59.123456+01:00`; `T`, `t` or a space; seconds may be left out; `Z`, `z`, `+01:00`, `+0100` or `+01`,
    /// also after a space), `infinity` or `-infinity` → microseconds since 2000-01-01 UTC. Fractions are rounded to microseconds; a leap
    /// second becomes the first second of the next minute, as in PostgreSQL.
    /// - Parameter needsZone: a text without an offset is refused; otherwise it is UTC.
    static func timestamp(_ text: UnsafeRawBufferPointer, needsZone: Bool) throws(ValueFault) -> Int64 {
        if let infinity = infinity(text) { return infinity < 0 ? .min : .max }
        guard text.count >= 16 else { throw .wrongType }
        let days = Int64(try days(text))
        switch text[10] {
        case UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " "): break
        default: throw .wrongType
        }
        var at = 11
        let time = try timeOfDay(text, &at)
        // The end of a day is the beginning of the next; only a time of day writes it so.
        if text[11] == UInt8(ascii: "2"), text[12] == UInt8(ascii: "4") { throw .outOfRange }
        if at == text.count, needsZone { throw .wrongType }
        let offset = at == text.count ? 0 : Int64(try offsetMinutes(text, at))
        let timestamp = days * microsecondsOfDay + time - offset * 60_000_000
        // Otherwise its text would have a year that is not read.
        guard (firstDay * microsecondsOfDay..<endDay * microsecondsOfDay).contains(timestamp) else { throw .outOfRange }
        return timestamp
    }

    /// The days from year 1 to year 9999.
    private static let firstDay = -Int64(epoch)
    private static let endDay: Int64 = 2_921_940

    @inline(__always)
    private static func infinity(_ text: UnsafeRawBufferPointer) -> Int? {
        guard let first = text.first, !isDigit(first) else { return nil }
        return switch DecimalText.name(text) {
        case .infinity where text.count >= 8: 1
        case .minusInfinity where text.count >= 8: -1
        default: nil
        }
    }

    private static func timeOfDay(_ text: UnsafeRawBufferPointer, _ at: inout Int) throws(ValueFault) -> Int64 {
        guard text.count >= at + 5, text[at + 2] == UInt8(ascii: ":") else { throw .wrongType }
        let (hour, minute) = (try digits(text, at, 2), try digits(text, at + 3, 2))
        at += 5
        var second = 0
        var microseconds = 0
        if text.count > at, text[at] == UInt8(ascii: ":") {
            guard text.count >= at + 3 else { throw .wrongType }
            second = try digits(text, at + 1, 2)
            at += 3
            microseconds = try fraction(text, &at)
        }
        guard hour <= 24, minute < 60, second <= 60 else { throw .outOfRange }
        return Int64((hour * 60 + minute) * 60 + second) * 1_000_000 + Int64(microseconds)
    }

    /// Microseconds of a fraction, where there is one.
    private static func fraction(_ text: UnsafeRawBufferPointer, _ at: inout Int) throws(ValueFault) -> Int {
        guard at < text.count, text[at] == UInt8(ascii: ".") else { return 0 }
        at += 1
        let start = at
        var microseconds = 0
        while at < text.count, isDigit(text[at]) {
            let position = at - start
            let digit = Int(text[at] - UInt8(ascii: "0"))
            if position < 6 { microseconds = microseconds * 10 + digit }
            if position == 6, digit >= 5 { microseconds += 1 }
            at += 1
        }
        guard at > start else { throw .wrongType }
        for _ in 0..<max(0, 6 - (at - start)) { microseconds *= 10 }
        return microseconds
    }

    /// Minutes that local time is ahead of UTC.
    private static func offsetMinutes(_ text: UnsafeRawBufferPointer, _ start: Int) throws(ValueFault) -> Int {
        let at = text[start] == UInt8(ascii: " ") ? start + 1 : start
        guard at < text.count else { throw .wrongType }
        if isZ(text, at: at) { return 0 }
        switch text[at] {
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            let minutesAt: Int
            switch text.count - at {
            case 3: minutesAt = -1
            case 5: minutesAt = at + 3
            case 6 where text[at + 3] == UInt8(ascii: ":"): minutesAt = at + 4
            default: throw .wrongType
            }
            let hours = try digits(text, at + 1, 2)
            let minutes = minutesAt < 0 ? 0 : try digits(text, minutesAt, 2)
            guard hours < 24, minutes < 60 else { throw .outOfRange }
            let offset = hours * 60 + minutes
            return text[at] == UInt8(ascii: "-") ? -offset : offset
        default: throw .wrongType
        }
    }

    /// The year, month and day of days since 2000-01-01, by the algorithm of Howard Hinnant's `civil_from_days`; year 0 is 1 BC.
    static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        // Days since 0000-03-01, in eras of 400 years.
        let shifted = days + 730_425
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    /// The date at the start of a text, in days since 2000-01-01.
    private static func days(_ text: UnsafeRawBufferPointer) throws(ValueFault) -> Int {
        guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-") else { throw .wrongType }
        let (year, month, day) = (try digits(text, 0, 4), try digits(text, 5, 2), try digits(text, 8, 2))
        guard year >= 1, (1...12).contains(month), day >= 1 else { throw .outOfRange }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let length = daysBeforeMonth[month] - daysBeforeMonth[month - 1] + (isLeap && month == 2 ? 1 : 0)
        guard day <= length else { throw .outOfRange }
        let past = year - 1
        let daysBeforeYear = past * 365 + past / 4 - past / 100 + past / 400
        return daysBeforeYear + daysBeforeMonth[month - 1] + (isLeap && month > 2 ? 1 : 0) + day - 1 - epoch
    }

    private static func digits(_ text: UnsafeRawBufferPointer, _ start: Int, _ count: Int) throws(ValueFault) -> Int {
        var number = 0
        for at in start..<start + count {
            guard isDigit(text[at]) else { throw .wrongType }
            number = number * 10 + Int(text[at] - UInt8(ascii: "0"))
        }
        return number
    }

    /// Whether a text ends with a `Z` or `z` at an index.
    private static func isZ(_ text: UnsafeRawBufferPointer, at index: Int) -> Bool {
        text.count == index + 1 && text[index] | 0x20 == UInt8(ascii: "z")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
