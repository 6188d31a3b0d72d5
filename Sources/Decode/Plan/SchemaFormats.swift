// Takes the formats of Debezium's values from the schema that an event is sent with.

import CSimdjson
import Glibc
import Records

/// A column without a format in its mapping, which reads a field of the row.
struct SchemaColumn: Sendable {
    let column: Int
    /// The field's name in the row.
    let field: String
}

/// What a schema says of the values of a field.
struct SchemaForm {
    let format: ValueFormat
    /// Digits after the point of a `base64_decimal`.
    let scale: Int16
    /// The types of columns that read them; the first is that of the field itself.
    let types: [ColumnType]
    /// The schema names them; otherwise they are strings, which a numeric reads.
    let isNamed: Bool
    /// They are JSON in a text, which a column reads by `type: text` and a cast, and not by itself.
    var isDocument = false
}

/// The columns of one decoder, with the formats that the schema of the event names. Use it from one thread or task at a time.
///
/// A schema is long, and the same in nearly all events. So it is read once, and its bytes are compared with those of the next event.
final class SchemaFormats {
    /// The columns as the event that was read last has them.
    let columns: UnsafeMutableBufferPointer<ColumnStep>
    private let declared: PlanTable<ColumnStep>
    private let candidates: [SchemaColumn]
    private let fields: NameTable
    /// The start of the event whose schema is in force, up to its payload. Empty: no schema is, or one that is not compared.
    private var start = ByteBuffer()
    private var isDeclared = true

    init(_ candidates: [SchemaColumn], _ declared: PlanTable<ColumnStep>) {
        self.candidates = candidates
        self.declared = declared
        fields = NameTable(candidates.map(\.field))
        columns = .allocate(capacity: declared.count)
        _ = columns.initialize(from: UnsafeBufferPointer(start: declared.start, count: declared.count))
    }

    deinit { columns.deallocate() }

    /// Takes the formats of an event's schema.
    /// - Parameter event: the event, with its members `schema` and `payload`.
    func take(_ event: sj_value, _ document: UnsafeRawBufferPointer) {
        if start.count > 0, document.count > start.count, memcmp(document.baseAddress!, start.base, start.count) == 0 { return }
        restore()
        read(event)
        isDeclared = false
        start.append(UnsafeRawBufferPointer(rebasing: document[..<Self.start(of: document)]))
    }

    /// Takes the mapping's own formats: an event has no schema.
    func restore() {
        if isDeclared { return }
        for candidate in candidates { columns[candidate.column] = declared.start[candidate.column] }
        start.removeAll()
        isDeclared = true
    }

    // MARK: The schema

    private static let schema = NameTable(["schema"])
    /// The members of a field; the first is also that of the schema itself.
    private static let members = NameTable(["fields", "type", "name", "parameters", "field"])
    private static let scale = NameTable(["scale"])
    private static let rows = NameTable(["after", "before"])
    private static let string = NameTable(["string"])
    private static let json = NameTable(["io.debezium.data.Json"])
    /// How Debezium and Kafka Connect call the forms of values that are not their type's usual one.
    /// Only columns of the same kind take them: a time of day is no moment.
    private static let formats: [(name: String, format: ValueFormat, types: [ColumnType])] = {
        let day: [ColumnType] = [.date, .timestamp, .timestamptz]
        let moment: [ColumnType] = [.timestamp, .timestamptz, .date]
        return [
            ("io.debezium.time.Date", .days, day), ("io.debezium.time.Time", .epochMilliseconds, [.time]),
            ("io.debezium.time.MicroTime", .epochMicroseconds, [.time]),
            ("io.debezium.time.NanoTime", .epochNanoseconds, [.time]),
            ("io.debezium.time.Timestamp", .epochMilliseconds, moment),
            ("io.debezium.time.MicroTimestamp", .epochMicroseconds, moment),
            ("io.debezium.time.NanoTimestamp", .epochNanoseconds, moment),
            ("io.debezium.time.MicroDuration", .epochMicroseconds, [.interval]),
            ("io.debezium.time.NanoDuration", .epochNanoseconds, [.interval]),
            ("org.apache.kafka.connect.data.Date", .days, day),
            ("org.apache.kafka.connect.data.Time", .epochMilliseconds, [.time]),
            ("org.apache.kafka.connect.data.Timestamp", .epochMilliseconds, moment),
            ("org.apache.kafka.connect.data.Decimal", .base64Decimal, [.numeric]),
            ("io.debezium.data.VariableScaleDecimal", .variableScaleDecimal, [.numeric]),
        ]
    }()
    private static let formatNames = NameTable(formats.map(\.name))

    private func read(_ event: sj_value) {
        Self.forEachRowField(of: event) { field in
            for index in candidates.indices where sj_word(field + 4, fields.names + index, 1) == 0 {
                let step = declared.start[candidates[index].column]
                guard let form = Self.form(of: field), !form.isDocument, form.types.contains(step.codec.type) else { continue }
                columns[candidates[index].column] = step.with(step.codec.with(format: form.format, scale: form.scale))
            }
        }
    }

    /// What an event's schema says of the fields of its row, by their names. Fields of which it says nothing are missing.
    static func forms(of event: sj_value) -> [String: SchemaForm] {
        var forms: [String: SchemaForm] = [:]
        forEachRowField(of: event) { field in
            if let name = text(field[4]), let form = form(of: field) { forms[name] = form }
        }
        return forms
    }

    /// Calls `body` with the values of ``members`` of each field of the row.
    private static func forEachRowField(of event: sj_value, _ body: (UnsafeMutablePointer<sj_value>) -> Void) {
        guard let schema = member(of: event, Self.schema), let list = member(of: schema, members) else { return }
        var isRead = false
        forEachField(list) { row in
            // Both rows have the same fields.
            guard !isRead, Int(row[4].type) == SJ_STRING, sj_word(row + 4, rows.names, 2) >= 0 else { return }
            isRead = true
            forEachField(row[0]) { field in
                if Int(field[4].type) == SJ_STRING { body(field) }
            }
        }
    }

    private static func form(of field: UnsafeMutablePointer<sj_value>) -> SchemaForm? {
        guard Int(field[2].type) == SJ_STRING else {
            guard Int(field[1].type) == SJ_STRING, sj_word(field + 1, string.names, 1) == 0 else { return nil }
            return SchemaForm(format: .string, scale: 0, types: [.numeric], isNamed: false)
        }
        let index = sj_word(field + 2, formatNames.names, formats.count)
        guard index >= 0 else {
            if sj_word(field + 2, json.names, 1) < 0 { return nil }
            return SchemaForm(format: .string, scale: 0, types: [.jsonb, .json], isNamed: true, isDocument: true)
        }
        var scale: Int16 = 0
        if formats[index].format == .base64Decimal {
            guard let written = member(of: field[3], Self.scale).flatMap(text).flatMap({ Int16($0) }) else { return nil }
            scale = written
        }
        return SchemaForm(format: formats[index].format, scale: scale, types: formats[index].types, isNamed: true)
    }

    /// The first of `names` in an object.
    private static func member(of object: sj_value, _ names: NameTable) -> sj_value? {
        guard Int(object.type) == SJ_OBJECT else { return nil }
        var object = object
        var value = sj_value()
        sj_find(&object, names.names, 1, &value)
        return Int(value.type) == SJ_ABSENT ? nil : value
    }

    private static func text(_ value: sj_value) -> String? {
        guard Int(value.type) == SJ_STRING else { return nil }
        return String(decoding: UnsafeRawBufferPointer(start: value.pointer, count: Int(value.bits)), as: UTF8.self)
    }

    /// Calls `body` with the values of ``members`` of each field in a list.
    private static func forEachField(_ list: sj_value, _ body: (UnsafeMutablePointer<sj_value>) -> Void) {
        guard Int(list.type) == SJ_ARRAY else { return }
        var list = list
        var elements = sj_elements_of(&list)
        var element = sj_value()
        withUnsafeTemporaryAllocation(of: sj_value.self, capacity: 5) { found in
            guard let found = found.baseAddress else { return }
            while sj_next(&elements, &element) {
                guard Int(element.type) == SJ_OBJECT else { continue }
                sj_find(&element, members.names, 5, found)
                body(found)
            }
        }
    }

    /// How many bytes of a document precede its payload, where it begins as Kafka Connect writes it: `{"schema":{…},"payload":`; 0: it
    /// does not. The document is valid JSON.
    private static func start(of document: UnsafeRawBufferPointer) -> Int {
        let (opening, payload): (StaticString, StaticString) = ("{\"schema\":{", ",\"payload\":")
        func has(_ text: StaticString, at index: Int) -> Bool {
            document.count - index >= text.utf8CodeUnitCount
                && memcmp(document.baseAddress! + index, text.utf8Start, text.utf8CodeUnitCount) == 0
        }
        guard has(opening, at: 0) else { return 0 }
        var at = opening.utf8CodeUnitCount
        var depth = 1
        var isInText = false
        while depth > 0, at < document.count {
            switch document[at] {
            case UInt8(ascii: "\\"): at += 1
            case UInt8(ascii: "\""): isInText.toggle()
            case UInt8(ascii: "{") where !isInText: depth += 1
            case UInt8(ascii: "}") where !isInText: depth -= 1
            default: break
            }
            at += 1
        }
        return has(payload, at: at) ? at + payload.utf8CodeUnitCount : 0
    }
}
