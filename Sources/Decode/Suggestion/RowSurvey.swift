// Finds out what the rows of a topic's events hold: their fields, and the ways in which each can be read.

import CSimdjson
import Records

/// What was seen of one field.
struct FieldSurvey {
    /// From the row.
    let path: [String]
    /// Rows that have it, deleted ones not counted, and those in which it is null.
    private(set) var rows = 0
    private(set) var nulls = 0
    /// Deleted rows that have it and in which it is not null.
    private(set) var deletedRows = 0
    /// A row has it twice, so that no mapping can read it.
    var isRepeated = false
    /// Each value that was not null is an object.
    private(set) var isObject = true
    private(set) var hasElements = false
    private(set) var isArray = true
    /// The least and the largest integer, where all values are integers.
    private(set) var integers: ClosedRange<Int64>?
    private(set) var isInteger = true
    private(set) var values = 0
    /// The ways in which all values can be read, the best first.
    private(set) var candidates: [ColumnCandidate]
    /// How a column without a format reads all values, because the events' schemas name it; `nil`: they do not.
    private(set) var named: ColumnCandidate?
    private var isNamed = true
    private let column: TableOutline.Column?

    /// - Parameter column: the table's, which the field is for.
    init(_ path: [String], _ column: TableOutline.Column?, _ envelope: EnvelopeKind) {
        self.path = path
        self.column = column
        candidates =
            column.map { ColumnCandidate.candidates(ofColumn: $0, documentsAreTexts: envelope == .debezium) }
            ?? ColumnCandidate.general
    }

    /// - Parameter form: what the event's schema says of the field.
    mutating func add(
        _ value: sj_value, _ form: SchemaForm?, isDeleted: Bool, _ parser: SurveyParser, _ scratch: inout ChangeRows
    ) {
        let isNull = Int(value.type) == SJ_NULL
        if isNamed {
            let found = form.flatMap { ColumnCandidate.named($0, column) }
            let isSame = named == nil || named?.codec.type == found?.0.codec.type
            isNamed = isSame && (isNull ? found != nil : found?.read.accepts(value, parser, &scratch) == true)
            named = isNamed ? found?.0 : nil
        }
        if isDeleted {
            if !isNull { deletedRows += 1 }
        } else {
            rows += 1
            if isNull { nulls += 1 }
        }
        if isNull { return }
        values += 1
        isObject = isObject && Int(value.type) == SJ_OBJECT
        isArray = isArray && Int(value.type) == SJ_ARRAY
        if isArray {
            var array = value
            hasElements = hasElements || Int(sj_at(&array, 0).type) != SJ_ABSENT
        }
        isInteger = isInteger && Int(value.type) == SJ_INT64
        if isInteger {
            let number = Int64(bitPattern: value.bits)
            integers = min(integers?.lowerBound ?? number, number)...max(integers?.upperBound ?? number, number)
        }
        candidates.removeAll { !$0.accepts(value, parser, &scratch) }
    }

    /// Elements decide the type of an array; without any, only the document itself is certain. Without a value text is the widest guess.
    var best: ColumnCandidate? {
        if values == 0 {
            return candidates.first { $0.codec.simple == .text } ?? candidates.first { $0.codec.format == nil }
        }
        // Seconds until 1973 are rarer than dates that are written as 20240101.
        let isSmall = integers.map { max($0.lowerBound.magnitude, $0.upperBound.magnitude) < 100_000_000 } == true
        return (isArray && !hasElements ? candidates.first(where: \.codec.isDocument) : nil)
            ?? candidates.first { !(isInteger && isSmall && $0.countsSmallUnits) }
    }
}

/// What was seen of the rows of a topic's events.
struct RowSurvey {
    /// Fields of one object beyond this number are not looked at: they are probably keys of a map.
    static let mostFields = 200

    let envelope: EnvelopeKind
    let action: EnvelopeSurvey.Action?
    /// Rows that events create or change, and rows that they delete.
    private(set) var rows = 0
    private(set) var deletedRows = 0
    private(set) var fields: [[String]: FieldSurvey] = [:]
    /// In the order in which they were seen first.
    private(set) var paths: [[String]] = []
    /// A row has more fields than are looked at.
    private(set) var isCut = false

    /// - Parameter column: the table's column for the field at a path.
    init(
        _ records: [RecordBatch], _ envelope: EnvelopeKind, _ action: EnvelopeSurvey.Action?, _ parser: SurveyParser,
        column: ([String]) -> TableOutline.Column?
    ) {
        self.envelope = envelope
        self.action = action
        var scratch = ChangeRows(columnCount: 1)
        for batch in records {
            guard let payload = batch.records.first.flatMap({ batch.bytes(of: $0.value) }), let root = parser.parse(payload),
                Int(root.type) == SJ_OBJECT, let (row, isDeleted) = row(of: root, parser)
            else { continue }
            if isDeleted { deletedRows += 1 } else { rows += 1 }
            let forms = envelope == .debezium ? SchemaFormats.forms(of: root) : [:]
            add(row, at: [], isDeleted, forms, parser, &scratch, column)
        }
    }

    /// The row of an event, and whether the event deletes it; `nil`: it has none.
    private func row(of root: sj_value, _ parser: SurveyParser) -> (sj_value, isDeleted: Bool)? {
        switch envelope {
        case .upsert: return (root, false)
        case .cloudevents:
            guard let data = parser.fields(of: root)["data"], Int(data.type) == SJ_OBJECT else { return nil }
            return (data, false)
        case .action:
            let word = action.flatMap { parser.fields(of: root)[$0.field] }
            let operation = word.flatMap { word in
                Int(word.type) == SJ_STRING ? action?.operation(of: String(decoding: parser.string(word), as: UTF8.self)) : nil
            }
            return (root, operation == .delete)
        case .debezium:
            let change = EnvelopeSurvey.changeEvent(parser.fields(of: root), parser)
            for (name, isDeleted) in [("after", false), ("before", true)] {
                if let row = change[name], Int(row.type) == SJ_OBJECT { return (row, isDeleted) }
            }
            return nil
        }
    }

    private mutating func add(
        _ object: sj_value, at parent: [String], _ isDeleted: Bool, _ forms: [String: SchemaForm], _ parser: SurveyParser,
        _ scratch: inout ChangeRows, _ column: ([String]) -> TableOutline.Column?
    ) {
        var seen: Set<String> = []
        var found: [(String, sj_value)] = []
        parser.forEachField(of: object) { name, value in
            if found.count == Self.mostFields {
                isCut = true
            } else {
                found.append((name, value))
            }
        }
        for (name, value) in found {
            let path = parent + [name]
            if fields[path] == nil {
                fields[path] = FieldSurvey(path, column(path), envelope)
                paths.append(path)
            }
            guard seen.insert(name).inserted else {
                fields[path]?.isRepeated = true
                continue
            }
            if envelope == .debezium, isPlaceholder(value) { continue }
            fields[path]?.add(value, parent.isEmpty ? forms[name] : nil, isDeleted: isDeleted, parser, &scratch)
            if parent.isEmpty, Int(value.type) == SJ_OBJECT { add(value, at: path, isDeleted, [:], parser, &scratch, column) }
        }
    }

    private func isPlaceholder(_ value: sj_value) -> Bool {
        var value = value
        return Int(value.type) == SJ_STRING && sj_word(&value, Debezium.placeholders.names, Debezium.placeholderCount) >= 0
    }

    /// The fields inside of an object, in order.
    func children(of path: [String]) -> [FieldSurvey] {
        paths.filter { $0.count == path.count + 1 && $0.starts(with: path) }.compactMap { fields[$0] }
    }

    /// Whether the members of an object become columns: it always is one, and has the same few names.
    func isSpread(_ field: FieldSurvey) -> Bool {
        guard field.isObject, field.named == nil, !field.isRepeated, field.path.count == 1 else { return false }
        let children = children(of: field.path)
        return (1...16).contains(children.count) && !children.contains(where: \.isRepeated)
            && children.allSatisfy { 2 * $0.rows >= field.rows - field.nulls }
    }
}
