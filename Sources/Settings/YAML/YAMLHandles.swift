// Owns libyaml's parser and its events: every C call of the module is in this file.

import CYaml

/// One parser over one text. The text is copied, because libyaml reads it as events are asked for.
struct YAMLParserHandle: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    /// `nil`: libyaml is out of memory.
    init?(_ utf8: some Collection<UInt8>) {
        parser = .allocate(capacity: 1)
        text = .allocate(capacity: utf8.count)
        _ = text.initialize(from: utf8)
        guard yaml_parser_initialize(parser) == 1 else {
            text.deallocate()
            parser.deallocate()
            return nil
        }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, text.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    /// The next event. Must not be called after a problem or the end of the stream.
    func next() throws(YAMLProblem) -> YAMLEvent {
        let event = YAMLEventHandle()
        guard event.fill(from: parser) else { throw problem() }
        return event.read()
    }

    private func problem() -> YAMLProblem {
        let sentence = parser.pointee.problem.map { String(cString: $0) } ?? "the text cannot be read"
        let context = parser.pointee.context.map { String(cString: $0) }
        if parser.pointee.error == YAML_READER_ERROR {
            // The reader knows the byte, not the line.
            let offset = min(parser.pointee.problem_offset, text.count)
            let line = text[..<offset].count { $0 == UInt8(ascii: "\n") } + 1
            return YAMLProblem(sentence: sentence, context: nil, line: line)
        }
        let mark = parser.pointee.problem_mark
        return YAMLProblem(sentence: sentence, context: context, line: Int(mark.line) + 1)
    }
}

/// Why libyaml stopped, in its own words.
struct YAMLProblem: Error {
    let sentence: String
    let context: String?
    let line: Int
}

/// One step of a document, copied out of libyaml's memory.
struct YAMLEvent {
    enum Kind {
        case streamStart, streamEnd, documentStart, documentEnd
        case scalar(YAMLScalar)
        case sequenceStart, sequenceEnd
        case mappingStart, mappingEnd
        case alias(String)
    }

    let kind: Kind
    let anchor: String?
    let tag: String?
    /// From 1.
    let line: Int
}

/// libyaml's memory of one event.
private struct YAMLEventHandle: ~Copyable {
    private let event: UnsafeMutablePointer<yaml_event_t>

    init() {
        event = .allocate(capacity: 1)
        event.initialize(to: yaml_event_t())
    }

    deinit {
        yaml_event_delete(event)
        event.deallocate()
    }

    func fill(from parser: UnsafeMutablePointer<yaml_parser_t>) -> Bool { yaml_parser_parse(parser, event) == 1 }

    func read() -> YAMLEvent {
        let data = event.pointee.data
        var anchor: String?
        var tag: String?
        let kind: YAMLEvent.Kind
        switch event.pointee.type {
        case YAML_STREAM_START_EVENT: kind = .streamStart
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: kind = .documentEnd
        case YAML_ALIAS_EVENT: kind = .alias(Self.text(data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            anchor = Self.text(data.scalar.anchor)
            tag = Self.text(data.scalar.tag)
            let bytes = UnsafeBufferPointer(start: data.scalar.value, count: data.scalar.length)
            let isPlain = data.scalar.style == YAML_PLAIN_SCALAR_STYLE && tag == nil
            kind = .scalar(YAMLScalar(text: String(decoding: bytes, as: UTF8.self), isPlain: isPlain, tag: tag))
        case YAML_SEQUENCE_START_EVENT:
            anchor = Self.text(data.sequence_start.anchor)
            tag = Self.text(data.sequence_start.tag)
            kind = .sequenceStart
        case YAML_SEQUENCE_END_EVENT: kind = .sequenceEnd
        case YAML_MAPPING_START_EVENT:
            anchor = Self.text(data.mapping_start.anchor)
            tag = Self.text(data.mapping_start.tag)
            kind = .mappingStart
        case YAML_MAPPING_END_EVENT: kind = .mappingEnd
        default: kind = .streamEnd
        }
        let mark = event.pointee.start_mark
        return YAMLEvent(kind: kind, anchor: anchor, tag: tag, line: Int(mark.line) + 1)
    }

    private static func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }
}
