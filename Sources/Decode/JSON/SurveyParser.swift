// Owns a parser for looking at documents of any shape, away from the path of records.

import CSimdjson
import Records

/// Parses documents and walks over their fields. Values are valid until it parses again.
final class SurveyParser {
    private let handle = JSONParserHandle(DecodeLimits(), locates: true)

    var pointer: OpaquePointer { handle.pointer }

    /// The root of a document, which stays in memory; `nil`: it is not JSON. At least ``ByteBuffer/padding`` bytes after it must be
    /// readable.
    func parse(_ document: UnsafeRawBufferPointer) -> sj_value? {
        var root = sj_value()
        guard document.count > 0 else { return nil }
        if Int(sj_parse(handle.pointer, document.baseAddress, document.count, &root)) == SJ_OK { return root }
        var diagnosis = JSONDiagnosis(document, depth: DecodeLimits().depth)
        guard case .numbers(let numbers) = diagnosis.run() else { return nil }
        return JSONParserHandle.parse(document, without: numbers, handle.pointer)
    }

    /// Calls `body` with the name and the value of each field of an object.
    func forEachField(of object: sj_value, _ body: (String, sj_value) -> Void) {
        var (object, name, value) = (object, sj_value(), sj_value())
        var fields = sj_fields_of(&object)
        while sj_next_field(&fields, &name, &value) { body(String(decoding: string(name), as: UTF8.self), value) }
    }

    /// The fields of an object by name; the first of those with one name.
    func fields(of object: sj_value) -> [String: sj_value] {
        var fields: [String: sj_value] = [:]
        forEachField(of: object) { name, value in
            if fields[name] == nil { fields[name] = value }
        }
        return fields
    }

    /// The text of a string.
    func string(_ value: sj_value) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: value.pointer, count: Int(value.bits))
    }

    /// A value's own text in the document.
    func raw(_ value: sj_value) -> UnsafeRawBufferPointer {
        var value = value
        let text = sj_raw(&value, handle.pointer)
        return UnsafeRawBufferPointer(start: text.bytes, count: text.length)
    }
}
