// Writes one log line, as text or as JSON, with the newline that ends it.

import Platform

/// Writes log lines.
///
/// A line has a constant sentence and metadata. Where a line reports the message of a library or a server (librdkafka, libmicrohttpd,
/// PostgreSQL), that message is the metadata `message`. In JSON it is then the field `message`, where log tools search, and the sentence
/// stands in the field `event`. On all other lines the sentence is the field `message`, and there is no `event`.
enum LogLine {
    typealias Metadata = [(key: String, value: LogValue)]

    /// Fields of the JSON object that metadata cannot replace; such a key gets the suffix `_`.
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
        line += ",\"label\":\(JSONText.quoted(label)),\"\(name)\":\(JSONText.quoted(sentence))"
        for (key, value) in metadata {
            line += ",\(JSONText.quoted(reserved.contains(key) ? key + "_" : key)):"
            switch value {
            case .string(let text): line += JSONText.quoted(text)
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
                scalar.value > 0x20 && !JSONText.isControl(scalar) && scalar != "\"" && scalar != "=" && scalar != "\\"
            }
        return isPlain ? text : JSONText.quoted(text)
    }

    /// A sentence is constant, yet a line must stay a line.
    private static func escapeControls(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: JSONText.isControl) else { return text }
        return text.unicodeScalars.map { JSONText.isControl($0) ? JSONText.escape($0)! : String($0) }.joined()
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
