// Owns what a mapping makes of one record, for people: `sluice try`.

private import Platform
public import Records

/// What a mapping makes of one record.
public enum RecordTrial: Sendable, Equatable {
    /// A column that the event writes.
    public struct Value: Sendable, Equatable {
        /// When an Upsert writes it, where it depends on whether the row is there.
        public enum Occasion: String, Sendable {
            /// In any case.
            case always = ""
            /// If the row is absent.
            case insert = "on insert"
            /// If the row is present.
            case update = "on update"
            /// In any case; the object is added to the one of a row that is present.
            case merged = "merged"
        }

        /// The column.
        public let column: String
        /// The value as PostgreSQL shows it, arrays and JSON as they are sent; `nil`: null.
        public let text: String?
        /// `text` is an expression: `now` or `current_date`.
        public var isExpression = false
        /// When it is written.
        public var occasion = Occasion.always

        /// The text needs quotes to be told from another: it is empty, is `null`, or has the separators of a line in it.
        fileprivate let isQuoted: Bool
    }

    /// The event is applied: `create`, `update`, `upsert`, `delete`, or `append` where each event is a new row. Columns that it leaves as
    /// they are, are not among the values.
    case change(String, key: [Value], values: [Value], namesOtherRow: Bool)
    /// It becomes a dead letter.
    case refused(DecodeReason, detail: String)
    /// The mapping takes no event from it.
    case skipped(why: String)
    /// Its partition stops before it.
    case stopped(why: String)
}

extension Decoder {
    /// What ``decode(_:)`` makes of the only record of a batch.
    public func trial(of batch: RecordBatch) -> RecordTrial {
        precondition(batch.count == 1, "a trial is of one record")
        let decoded = decode(batch)
        if let stop = decoded.stop { return .stopped(why: stop.reason.description) }
        if let fault = decoded.faults.first {
            guard let reason = DecodeReason(rawValue: fault.reason) else { preconditionFailure("a fault has a reason") }
            return .refused(reason, detail: fault.detail)
        }
        guard let change = decoded.changes.first else {
            let cause = scratch.skipped.pointee
            return .skipped(why: cause.sentence(mapping.plan, ofFormerRow: scratch.isFormerRow.pointee))
        }
        let table = mapping.table
        // See ``TableShape/version``.
        let operation = table.version == nil || change.operation == .delete ? change.operation : .upsert
        let key = table.key.map { value(of: $0, decoded, operation) }
        var values: [RecordTrial.Value] = []
        for column in table.columns.indices where !table.key.contains(column) && isWritten(column, decoded, operation) {
            values.append(value(of: column, decoded, operation))
        }
        let expressions = operation == .delete ? table.deletion : operation == .create ? [] : table.onUpdate
        for (column, expression) in expressions {
            values.append(
                RecordTrial.Value(
                    column: column, text: expression.rawValue, isExpression: true,
                    occasion: operation == .upsert ? .update : .always, isQuoted: false))
        }
        return .change(
            table.mode == .append ? "append" : "\(operation)", key: key, values: values,
            namesOtherRow: decoded.keyMismatches > 0)
    }

    private func isWritten(_ column: Int, _ decoded: ChangeBatch, _ operation: Operation) -> Bool {
        let cell = decoded.cell(change: 0, column: column)
        if cell.isAbsent { return false }
        let policy = mapping.table.columns[column].policy
        switch operation {
        case .create: return policy.occasion != .update
        case .update: return policy.occasion != .insert && !(policy.keepsIfNull && cell.isNull)
        case .upsert, .delete: return true
        }
    }

    private func value(of column: Int, _ decoded: ChangeBatch, _ operation: Operation) -> RecordTrial.Value {
        let shape = mapping.table.columns[column]
        let codec = mapping.plan.columns.start[column].codec
        let cell = decoded.cell(change: 0, column: column)
        let text = decoded.value(cell).map { codec.shown($0) }
        var occasion = RecordTrial.Value.Occasion.always
        if operation == .upsert, mapping.table.mode == .upsert {
            if shape.policy.occasion == .insert || (shape.policy.keepsIfNull && cell.isNull) {
                occasion = .insert
            } else if shape.policy.occasion == .update {
                occasion = .update
            }
        }
        if shape.policy.isMerged, operation == .update || operation == .upsert, !cell.isNull, occasion == .always {
            occasion = .merged
        }
        let isFree = codec.wireType == .text || codec.isDocument
        return RecordTrial.Value(
            column: shape.name, text: text, occasion: occasion,
            isQuoted: text.map { Self.needsQuotes($0, isText: isFree && !codec.isArray && !codec.isDocument) } ?? false)
    }

    private static func needsQuotes(_ text: String, isText: Bool) -> Bool {
        if text.unicodeScalars.contains(where: JSONText.isControl) { return true }
        guard isText else { return false }
        return text.isEmpty || text == "null" || text.hasPrefix("\"") || text.hasPrefix(" ") || text.hasSuffix(" ")
            || text.contains(", ") || text.contains(" | ")
    }
}

extension RecordTrial.Value {
    fileprivate var line: String {
        "\(column) = \(text.map { isQuoted ? JSONText.quoted($0) : $0 } ?? "null")"
            + (occasion == .always ? "" : " (\(occasion.rawValue))")
    }
}

extension RecordTrial {
    /// One line for people: the operation, the row's key, and after a bar the columns that are written; or why there is no row.
    public var line: String {
        switch self {
        case .change(let operation, let key, let values, let namesOtherRow):
            "\(operation) "
                + [key, values].filter { !$0.isEmpty }.map { $0.map(\.line).joined(separator: ", ") }.joined(separator: " | ")
                + (namesOtherRow ? "; the record's key names another row" : "")
        case .refused(let reason, let detail): "refused (decode:\(reason.rawValue)): \(JSONText.printable(detail))"
        case .skipped(let why): "skipped: \(JSONText.printable(why))"
        case .stopped(let why): "stops the partition: \(why)"
        }
    }

    /// One line for programs: a JSON object.
    /// - Parameter position: its member `position`.
    public func json(position: String) -> String {
        var members = [("position", JSONText.quoted(position))]
        func object(_ values: [Value], _ text: (Value) -> String) -> String {
            "{" + values.map { "\(JSONText.quoted($0.column)):\(text($0))" }.joined(separator: ",") + "}"
        }
        func texts(_ values: [Value]) -> String { object(values) { $0.text.map(JSONText.quoted) ?? "null" } }
        switch self {
        case .change(let operation, let key, let values, let namesOtherRow):
            members.append(("operation", JSONText.quoted(operation)))
            members.append(("key", texts(key)))
            members.append(("values", texts(values.filter { !$0.isExpression })))
            let expressions = values.filter(\.isExpression)
            if !expressions.isEmpty { members.append(("expressions", texts(expressions))) }
            let limited = values.filter { $0.occasion != .always }
            if !limited.isEmpty { members.append(("occasions", object(limited) { "\"\($0.occasion.rawValue)\"" })) }
            if namesOtherRow { members.append(("names_other_row", "true")) }
        case .refused(let reason, let detail):
            members += [("refused", "\"decode:\(reason.rawValue)\""), ("detail", JSONText.quoted(detail))]
        case .skipped(let why): members.append(("skipped", JSONText.quoted(why)))
        case .stopped(let why): members.append(("stopped", JSONText.quoted(why)))
        }
        return "{" + members.map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    }
}
