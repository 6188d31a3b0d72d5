// Chooses the columns of a suggested mapping, and writes its text.

import Records

/// A column of a suggested mapping.
struct SuggestedColumn {
    let name: String
    let field: FieldSurvey
    /// Of a column that is not in the key: record keys have no schema, so that a key is read by the field's best candidate.
    let candidate: ColumnCandidate
    var remarks: [String]
}

/// A suggested mapping, but for its key.
struct SuggestedMapping {
    /// Which columns are the key, and how a record's key names the row.
    struct Key {
        var columns: [String] = []
        var format = KafkaKeyFormat.none
        var remark = ""
    }

    let topic: String
    let table: String
    let survey: RowSurvey
    private(set) var columns: [SuggestedColumn] = []
    /// What could not be decided, a line each.
    private(set) var remarks: [String] = []

    init(_ survey: RowSurvey, topic: String, table: String) {
        self.survey = survey
        self.topic = topic
        self.table = table
    }

    // MARK: Columns

    /// Fields that could be columns: of an object that is spread its members.
    static func fields(_ survey: RowSurvey) -> [FieldSurvey] {
        survey.paths.filter { $0.count == 1 }.compactMap { survey.fields[$0] }.flatMap { field in
            survey.isSpread(field) ? survey.children(of: field.path) : [field]
        }
    }

    /// A column for each field.
    mutating func addColumns() {
        var taken: Set<String> = []
        for field in Self.fields(survey) where field.path != survey.action.map({ [$0.field] }) {
            let name = SuggestedName.column(field.path, taken: taken)
            guard add(name, field) else { continue }
            taken.insert(name)
            let last = columns.count - 1
            guard columns[last].candidate.codec.type == .int8, let integers = field.integers else { continue }
            if let unit = Self.unit(of: integers) {
                columns[last].remarks.append("\(unit.0) since 1970? type: timestamptz, format: \(unit.1.rawValue)")
            } else if Int64(Int32.min) <= integers.lowerBound, integers.upperBound <= Int64(Int32.max) {
                columns[last].remarks.append("fits int4 so far")
            }
        }
    }

    /// The columns of a table that there are fields for.
    /// - Parameter pairs: the path of the field of each column.
    mutating func addColumns(of outline: TableOutline, _ pairs: [String: [String]]) {
        for column in outline.columns {
            guard let path = pairs[column.name], let field = survey.fields[path] else {
                if !column.isGenerated {
                    remarks.append(
                        "no field for column \(column.name) (\(column.type))"
                            + (column.isNotNull && !column.hasDefault ? ", which is NOT NULL and has no default" : ""))
                }
                continue
            }
            guard add(column.name, field, hasType: true) else { continue }
            let last = columns.count - 1
            if column.isNotNull, field.nulls > 0 { columns[last].remarks.append("the column is NOT NULL") }
            if columns[last].candidate.codec.takesAny, columns[last].candidate.cast != nil {
                columns[last].remarks.append("the server casts the text to \(column.type)")
            }
        }
        let used = Set(pairs.values)
        let unused = Self.fields(survey).map(\.path).filter { path in
            path != survey.action.map { [$0.field] } && !used.contains(path) && !used.contains { $0 == Array(path.prefix(1)) }
        }
        if !unused.isEmpty {
            remarks.append("no column for " + unused.map { Self.shown($0) }.joined(separator: ", "))
        }
    }

    /// - Parameter hasType: the table says the type.
    /// - Returns: whether the field can be a column.
    private mutating func add(_ name: String, _ field: FieldSurvey, hasType: Bool = false) -> Bool {
        let shown = Self.shown(field.path)
        if field.path.contains(where: { $0.contains("\0") }) {
            remarks.append("\(shown) has a NUL in its name, which no mapping can say")
            return false
        }
        if field.isRepeated {
            remarks.append("\(shown) is in one event twice, so it cannot be read")
            return false
        }
        guard let candidate = field.named ?? field.best else {
            remarks.append("\(shown): no type takes all of its values")
            return false
        }
        var remarks: [String] = []
        if field.values == 0 {
            if field.named == nil { remarks.append("never with a value" + (hasType ? "" : ": the type is a guess")) }
        } else if !hasType, field.isArray, !field.hasElements {
            remarks.append("only empty arrays: the type is a guess")
        }
        if candidate.codec.format == .base64Decimal { remarks.append("the scale is a guess") }
        if candidate.codec.type == .interval, candidate.codec.format != nil { remarks.append("the unit is a guess") }
        if candidate.codec.format == .hex, field.candidates.contains(where: { $0.codec.type == .bytea && $0.codec.format == nil })
        {
            remarks.append("hex or base64?")
        }
        columns.append(SuggestedColumn(name: name, field: field, candidate: candidate, remarks: remarks))
        return true
    }

    /// The unit of integers that all are a time between 2000 and 2100.
    private static func unit(of integers: ClosedRange<Int64>) -> (String, ValueFormat)? {
        for (name, format, factor) in [
            ("seconds", ValueFormat.epochSeconds, Int64(1)), ("milliseconds", .epochMilliseconds, 1000),
            ("microseconds", .epochMicroseconds, 1_000_000),
        ] where integers.lowerBound >= 946_684_800 * factor && integers.upperBound < 4_102_444_800 * factor {
            return (name, format)
        }
        return nil
    }

    // MARK: Text

    private static func shown(_ path: [String]) -> String { SuggestedName.yaml(JSONPointer(tokens: path).text) }

    /// The mapping file.
    /// - Parameters:
    ///   - head: comments that stand before it, a line each.
    ///   - mismatch: what is done about record keys that name other rows.
    func text(_ key: Key, head: [String], mismatch: KafkaKeyMismatch? = nil) -> String {
        var lines = (head + remarks).map { "# " + SuggestedName.printable($0) }
        lines.append("topics: [\(SuggestedName.yaml(topic))]")
        lines.append("envelope: \(survey.envelope.rawValue)")
        lines.append("table: \(SuggestedName.yaml(table))")
        if key.columns.isEmpty {
            lines.append(
                "# Every event is a new row: no field is certain to name a row. For rows that change, say key: [COLUMN].")
            lines.append("mode: append")
        } else {
            if !key.remark.isEmpty { lines.append("# \(key.remark)") }
            lines.append("key: [\(key.columns.map(SuggestedName.yaml).joined(separator: ", "))]")
            lines.append("kafka_key: \(key.format.rawValue)")
            if let mismatch, key.format != .none { lines.append("kafka_key_mismatch: \(mismatch.rawValue)") }
        }
        if let action = survey.action, survey.envelope == .action {
            let words = Operation.allCases.compactMap { operation -> String? in
                let words = action.words.filter { $0.operation == operation }.map { SuggestedName.yaml($0.text) }
                return words.isEmpty ? nil : ", \(operation): [\(words.joined(separator: ", "))]"
            }
            lines.append("# Check what each word means; a word that is missing here makes a dead letter.")
            lines.append("action: {path: \(Self.shown([action.field]))\(words.joined())}")
        }
        lines.append("columns:")
        let names = columns.map { SuggestedName.yaml($0.name) + ":" }
        let width = names.map(\.count).max() ?? 0
        for (column, name) in zip(columns, names) {
            let padding = String(repeating: " ", count: min(width, 30) - min(name.count, 30))
            lines.append("  \(name)\(padding) " + line(column, isKey: key.columns.contains(column.name)))
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private func line(_ column: SuggestedColumn, isKey: Bool) -> String {
        let field = column.field
        let candidate = (isKey ? field.best : nil) ?? column.candidate
        var keys = ["path: \(Self.shown(field.path))", candidate.keys]
        if !isKey, field.rows < survey.rows { keys.append("optional: true") }
        if !isKey, field.nulls > 0 { keys.append("nullable: true") }
        var remarks = column.remarks
        if field.rows < survey.rows { remarks.insert("in \(field.rows) of \(survey.rows) rows", at: 0) }
        if field.nulls > 0 { remarks.append("null in \(field.nulls)") }
        if field.named != nil, !isKey { remarks.append("the events' schema says the format") }
        return "{\(keys.joined(separator: ", "))}" + (remarks.isEmpty ? "" : "  # " + remarks.joined(separator: "; "))
    }
}
