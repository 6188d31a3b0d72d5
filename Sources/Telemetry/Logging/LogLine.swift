// Owns the grammar of one log line in both forms, down to the newline that ends it.

/// Writes log lines.
///
/// A line has a constant sentence and metadata. Where a line reports the message of a library or a server (librdkafka, libmicrohttpd,
/// PostgreSQL), that message is the metadata `message`. In JSON it is then the field `message`, where log tools search, and the sentence
/// is the field `event`. On all other lines the sentence is the field `message`, and there is no `event`.
enum LogLine {
    typealias Metadata = [(key: String, value: LogValue)]

    /// Names of the JSON object that metadata must not overwrite; such a key gets a `_` behind it.
    private static let reserved: Set<String> = ["time", "level", "label", "event"]

    static func text(
        milliseconds: Int64, level: LogLevel, label: String, sentence: String, metadata: Metadata
    ) -> String {
        let width = 7  // of "warning"
        var line = "\(timestamp(milliseconds)) \(level.rawValue)"
        line += String(repeating: " ", count: width - level.rawValue.utf8.count + 1)
        line += "\(label) \(escapeControls(sentence))"
        for (key, value) in metadata { line += " \(bare(key))=\(bare(shown(value)))" }
        return line + "\n"
    }

    static func json(
        milliseconds: Int64, level: LogLevel, label: String, sentence: String, metadata: Metadata
    ) -> String {
        var line = "{\"time\":\"\(timestamp(milliseconds))\",\"level\":\"\(level.rawValue)\""
        let name = metadata.contains { $0.key == "message" } ? "event" : "message"
        line += ",\"label\":\(quoted(label)),\"\(name)\":\(quoted(sentence))"
        for (key, value) in metadata {
            line += ",\(quoted(reserved.contains(key) ? key + "_" : key)):"
            switch value {
            case .string(let text): line += quoted(text)
            case .number(let number) where !number.isFinite: line += "\"\(number)\""
            default: line += shown(value)
            }
        }
        return line + "}\n"
    }

    private static func shown(_ value: LogValue) -> String {
        switch value {
        case .string(let text): text
        case .integer(let number): String(number)
        case .number(let number): number.description
        case .flag(let flag): flag ? "true" : "false"
        }
    }

    /// A word of the text form: as it is where that is unambiguous, else in quotes.
    private static func bare(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                scalar.value > 0x20 && !isControl(scalar) && scalar != "\"" && scalar != "=" && scalar != "\\"
            }
        return isPlain ? text : quoted(text)
    }

    /// A JSON string; the text form quotes in the same way.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default: append(scalar, to: &result)
            }
        }
        return result + "\""
    }

    /// A sentence is ours and fixed, yet a line must stay a line.
    private static func escapeControls(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars { append(scalar, to: &result) }
        return result
    }

    private static func append(_ scalar: Unicode.Scalar, to result: inout String) {
        switch scalar {
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case _ where isControl(scalar):
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }

    /// Control characters, among them the escape that terminals obey, and the two separators some readers take for line ends.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }

    /// RFC 3339, UTC, milliseconds. The date follows H. Hinnant's `civil_from_days`
    /// (https://howardhinnant.github.io/date_algorithms.html).
    static func timestamp(_ milliseconds: Int64) -> String {
        let (days, ofDay) = floorDivide(milliseconds, 86_400_000)
        let shifted = days + 719_468
        let (era, ofEra) = floorDivide(shifted, 146_097)
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let dayOfYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        let year = yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0)
        let date = "\(padded(year, 4))-\(padded(civilMonth, 2))-\(padded(day, 2))"
        let time = "\(padded(ofDay / 3_600_000, 2)):\(padded(ofDay / 60_000 % 60, 2)):\(padded(ofDay / 1000 % 60, 2))"
        return "\(date)T\(time).\(padded(ofDay % 1000, 3))Z"
    }

    private static func floorDivide(_ a: Int64, _ b: Int64) -> (quotient: Int64, remainder: Int64) {
        let remainder = ((a % b) + b) % b
        return ((a - remainder) / b, remainder)
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
