// Reads a file of events, one a line, as records.

private import CSimdjson
public import Records

/// What is wrong with a line of a file of events.
public struct EventFileFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// `events.ndjson:3: …`
    public let description: String
}

/// A file of events. A line is a payload, as `POST /send` takes it; or `record ` and a JSON object with the record's parts. Empty lines,
/// and lines that begin with `#`, are ignored, and so is a byte order mark at the start.
///
/// The members of a record: `value`, its payload as JSON, or null; `key`, a string or other JSON; `headers`, an object of strings;
/// `timestamp`, milliseconds since 1970; `topic`, `partition`, `offset`. All but `value` may be left out.
public struct EventFile {
    /// One line with an event.
    public struct Line: Sendable {
        /// From 1.
        public let number: Int
        /// The record alone.
        public let batch: RecordBatch
    }

    private static let offsets: ClosedRange<Int64> = 0...(Int64.max - 1)
    private static let members = ["value", "key", "headers", "timestamp", "topic", "partition", "offset"]
    private let names = NameTable(members)
    private let parser = SurveyParser()
    private let file: String
    private let topic: String
    private var nextOffset: Int64 = 0

    private init(file: String, topic: String) {
        self.file = file
        self.topic = topic
    }

    /// The events of a file. What a line does not say is as in the first records of a partition: no key, no headers, partition 0, offsets
    /// from 0; the timestamp is 1970-01-01.
    /// - Parameters:
    ///   - file: its name, for messages.
    ///   - topic: the topic of records that name none.
    public static func lines(of text: [UInt8], file: String, topic: String) throws(EventFileFault) -> [Line] {
        var reader = EventFile(file: file, topic: topic)
        var lines: [Line] = []
        let text = text.starts(with: [0xEF, 0xBB, 0xBF]) ? text.dropFirst(3) : text[...]
        for (index, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let content = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if content.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) || content.first == UInt8(ascii: "#") { continue }
            lines.append(Line(number: index + 1, batch: try reader.record(content, line: index + 1)))
        }
        return lines
    }

    private mutating func record(_ line: ArraySlice<UInt8>, line number: Int) throws(EventFileFault) -> RecordBatch {
        func fault(_ sentence: String) -> EventFileFault { EventFileFault(description: "\(file):\(number): \(sentence)") }
        let noOffset =
            "no offset is left after that of the record before: offset must be an integer from 0 to \(Self.offsets.upperBound)"
        let prefix = Array("record ".utf8)
        guard line.starts(with: prefix) else {
            if !Self.offsets.contains(nextOffset) { throw fault(noOffset) }
            let batch = RecordBatch(source: TopicPartition(topic, 0), generation: 0)
            line.withUnsafeBytes { batch.append(offset: nextOffset, timestamp: 0, key: nil, value: $0) }
            nextOffset += 1
            return batch
        }
        var document = ByteBuffer()
        line.dropFirst(prefix.count).withUnsafeBytes { document.append($0) }
        guard let root = parser.parse(document.bytes), Int(root.type) == SJ_OBJECT else {
            throw fault("after 'record' must stand a JSON object, such as {\"key\":\"7\",\"value\":null}")
        }
        var headers = ByteBuffer()
        var wrong: String?
        var values = [sj_value](repeating: sj_value(), count: Self.members.count)
        parser.forEachField(of: root) { name, value in
            guard let index = Self.members.firstIndex(of: name) else {
                wrong = wrong ?? "a record has no '\(name)', but \(Self.members.joined(separator: ", "))"
                return
            }
            if Int(values[index].type) != SJ_ABSENT { wrong = wrong ?? "'\(name)' is given twice" }
            values[index] = value
        }
        if Int(values[0].type) == SJ_ABSENT { wrong = wrong ?? "a record needs 'value': its payload, or null for none" }
        switch Int(values[2].type) {
        case SJ_ABSENT, SJ_NULL: break
        case SJ_OBJECT:
            parser.forEachField(of: values[2]) { name, value in
                var name = name
                guard Int(value.type) == SJ_STRING || Int(value.type) == SJ_NULL else {
                    wrong = wrong ?? "header '\(name)' must be a string or null"
                    return
                }
                let text = Int(value.type) == SJ_NULL ? nil : parser.string(value)
                name.withUTF8 {
                    RecordHeaders.append(name: UnsafeRawBufferPointer($0), value: text, to: &headers)
                }
            }
        default: wrong = wrong ?? "headers must be an object of strings"
        }
        func integer(_ index: Int, _ range: ClosedRange<Int64>, default usual: Int64) -> Int64 {
            if Int(values[index].type) == SJ_ABSENT { return usual }
            let number = Int64(bitPattern: values[index].bits)
            if Int(values[index].type) == SJ_INT64, range.contains(number) { return number }
            wrong = wrong ?? "\(Self.members[index]) must be an integer from \(range.lowerBound) to \(range.upperBound)"
            return usual
        }
        let timestamp = integer(3, -1...Int64.max, default: 0)
        let partition = integer(5, 0...Int64(Int32.max), default: 0)
        let offset = integer(6, Self.offsets, default: nextOffset)
        if !Self.offsets.contains(offset) { wrong = wrong ?? noOffset }
        var topic = topic
        if Int(values[4].type) == SJ_STRING {
            topic = String(decoding: parser.string(values[4]), as: UTF8.self)
        } else if Int(values[4].type) != SJ_ABSENT {
            wrong = wrong ?? "topic must be a string"
        }
        if let wrong { throw fault(wrong) }
        nextOffset = offset + 1
        let batch = RecordBatch(source: TopicPartition(topic, Int32(partition)), generation: 0)
        let key: UnsafeRawBufferPointer? =
            switch Int(values[1].type) {
            case SJ_ABSENT, SJ_NULL: nil
            case SJ_STRING: parser.string(values[1])
            default: parser.raw(values[1])
            }
        batch.append(
            offset: offset, timestamp: timestamp, key: key, value: Int(values[0].type) == SJ_NULL ? nil : parser.raw(values[0]),
            headers: headers.count > 0 ? headers.bytes : nil)
        // Key and value are parts of it.
        withExtendedLifetime(document) {}
        return batch
    }
}
