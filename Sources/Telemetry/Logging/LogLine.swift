// Writes one log line, as text or as JSON, with the newline that ends it.

import Glibc
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
        for (key, value) in metadata { line += " \(bare(key))=\(bare(value.text))" }
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
            line += value.isQuoted ? JSONText.quoted(value.text) : value.text
        }
        return line + "}\n"
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

    /// RFC 3339, UTC, milliseconds.
    private static func timestamp(_ milliseconds: Int64) -> String {
        let fraction = (milliseconds % 1000 + 1000) % 1000
        var seconds = time_t((milliseconds - fraction) / 1000)
        var date = tm()
        gmtime_r(&seconds, &date)
        let text = String(unsafeUninitializedCapacity: 32) { buffer in
            buffer.withMemoryRebound(to: CChar.self) { strftime($0.baseAddress, $0.count, "%Y-%m-%dT%H:%M:%S", &date) }
        }
        return "\(text).\(String(1000 + fraction).dropFirst())Z"
    }
}
