// Converts dates and timestamps to PostgreSQL's binary form.

/// The proleptic Gregorian calendar from year 1 on.
enum Calendar {
    private static let daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365]
    /// Days from 0001-01-01 to 2000-01-01, PostgreSQL's day zero (`POSTGRES_EPOCH_JDATE`).
    private static let epoch = 730_119

    /// `YYYY-MM-DD` → days since 2000-01-01.
    static func date(_ text: UnsafeRawBufferPointer) throws(ValueFault) -> Int32 {
        guard text.count == 10 else { throw .wrongType }
        return Int32(try days(text))
    }

    /// RFC 3339 (`2024-02-29T23:59:59.123456+01:00`; `T`, `t` or a space; `Z`, `z` or an offset) → microseconds since 2000-01-01
    /// UTC. Fractions are rounded to microseconds; a leap second becomes the first second of the next minute, as in PostgreSQL.
    static func timestamp(_ text: UnsafeRawBufferPointer) throws(ValueFault) -> Int64 {
        guard text.count >= 20 else { throw .wrongType }
        let days = try days(text)
        switch text[10] {
        case UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " "): break
        default: throw .wrongType
        }
        guard text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":") else { throw .wrongType }
        let (hour, minute, second) = (try digits(text, 11, 2), try digits(text, 14, 2), try digits(text, 17, 2))
        guard hour < 24, minute < 60, second <= 60 else { throw .outOfRange }

        var at = 19
        var microseconds = 0
        if text[at] == UInt8(ascii: ".") {
            at += 1
            let start = at
            while at < text.count, isDigit(text[at]) {
                let position = at - start
                let digit = Int(text[at] - UInt8(ascii: "0"))
                if position < 6 { microseconds = microseconds * 10 + digit }
                if position == 6, digit >= 5 { microseconds += 1 }
                at += 1
            }
            guard at > start else { throw .wrongType }
            for _ in 0..<max(0, 6 - (at - start)) { microseconds *= 10 }
        }
        let offset = try offsetMinutes(text, at)
        let seconds = (days * 24 + hour) * 3600 + (minute - offset) * 60 + second
        return Int64(seconds) * 1_000_000 + Int64(microseconds)
    }

    /// Minutes that local time is ahead of UTC.
    private static func offsetMinutes(_ text: UnsafeRawBufferPointer, _ at: Int) throws(ValueFault) -> Int {
        guard at < text.count else { throw .wrongType }
        switch text[at] {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"):
            guard text.count == at + 1 else { throw .wrongType }
            return 0
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard text.count == at + 6, text[at + 3] == UInt8(ascii: ":") else { throw .wrongType }
            let (hours, minutes) = (try digits(text, at + 1, 2), try digits(text, at + 4, 2))
            guard hours < 24, minutes < 60 else { throw .outOfRange }
            let offset = hours * 60 + minutes
            return text[at] == UInt8(ascii: "-") ? -offset : offset
        default: throw .wrongType
        }
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

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
