// Suggests a mapping for a sample of a topic's records: `sluice mapping suggest`.

import CSimdjson
public import Records
import Settings

/// Why no mapping can be suggested.
public struct SuggestionFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// One sentence with the remedy.
    public let description: String
}

/// Suggests mappings. What it prints was compiled and has decoded the sample: the same code judges it as the worker uses.
public enum MappingSuggestion {
    /// The text of a mapping file, with comments on what could not be decided.
    /// - Parameters:
    ///   - records: the sample, one record a batch.
    ///   - table: the name for the mapping; `nil`: it is made from the topic's.
    ///   - outline: what the catalog says of the table; `nil`: it does not exist, or is not known.
    ///   - nearestTable: the table that is probably meant by the name of one that does not exist.
    public static func text(
        of records: [RecordBatch], topic: String, table: String? = nil, outline: TableOutline? = nil,
        nearestTable: String? = nil
    ) throws(SuggestionFault) -> String {
        let parser = SurveyParser()
        var envelope = EnvelopeSurvey()
        for batch in records {
            guard let record = batch.records.first else { continue }
            envelope.add(batch.bytes(of: record.value), parser)
        }
        try check(envelope, records, topic)
        let kind = envelope.kind
        let action = kind == .action ? envelope.action : nil
        let general = RowSurvey(records, kind, action, parser) { _ in nil }
        var suggestion: SuggestedMapping
        let name = table ?? SuggestedName.column([topic], taken: [])
        if let outline {
            let pairs = pairs(general, outline, table: name)
            let columns = Dictionary(uniqueKeysWithValues: pairs.map { ($1, $0) })
            let types = Dictionary(uniqueKeysWithValues: outline.columns.map { ($0.name, $0) })
            let survey = RowSurvey(records, kind, action, parser) { path in columns[path].flatMap { types[$0] } }
            suggestion = SuggestedMapping(survey, topic: topic, table: name)
            suggestion.addColumns(of: outline, pairs)
        } else {
            suggestion = SuggestedMapping(general, topic: topic, table: name)
            suggestion.addColumns()
        }
        guard !suggestion.columns.isEmpty else {
            throw SuggestionFault(
                description: outline == nil
                    ? "the events of topic \(topic) have no field that could be a column"
                    : "no field of topic \(topic) has the name of a column of \(name); without --table every field becomes a column, "
                        + "whose name can then be changed")
        }
        let (key, refused) = try choose(suggestion, records, outline, parser)
        var head = [
            "Suggested from \(records.count) records of topic \(SuggestedName.yaml(topic)). Check it, then try it:",
            "sluice try --mapping FILE --topic \(topic)",
        ]
        if table != nil, outline == nil {
            let missing = nearestTable.map { "does not exist; did you mean \($0)? The" } ?? "does not exist yet: the"
            head.append("Table \(name) \(missing) columns are those of the events.")
        }
        if envelope.others > 0 { head.append("No JSON objects, which become dead letters: \(envelope.others).") }
        if general.isCut { head.append("Objects have more than \(RowSurvey.mostFields) fields; the others are left out.") }
        if let first = refused.first { head.append("Refused records of the sample: \(refused.count); the first: \(first)") }
        return suggestion.text(key, head: head)
    }

    private static func check(_ envelope: EnvelopeSurvey, _ records: [RecordBatch], _ topic: String) throws(SuggestionFault) {
        if records.isEmpty {
            throw SuggestionFault(description: "topic \(topic) has no records; produce some first, or name another topic")
        }
        if envelope.objects > 0 { return }
        if envelope.others == 0 {
            throw SuggestionFault(description: "the \(records.count) records of topic \(topic) have no payload")
        }
        let hasSchemaNumber = records.contains { batch in
            batch.records.first.flatMap { batch.bytes(of: $0.value) }?.first == 0
        }
        throw SuggestionFault(
            description: "none of the \(records.count) records of topic \(topic) is a JSON object"
                + (hasSchemaNumber ? "; they begin with a zero byte, as Avro and Protobuf with a schema registry do" : ""))
    }

    // MARK: A table's columns

    /// The path of the field of each column that has one: called as the column, with the names around it or without.
    private static func pairs(_ survey: RowSurvey, _ outline: TableOutline, table: String) -> [String: [String]] {
        var pairs: [String: [String]] = [:]
        var taken: Set<[String]> = []
        func plain(_ text: String) -> String { SuggestedName.snakeCase(text).filter { $0 != "_" } }
        let action = survey.action.map { [$0.field] }
        let paths = survey.paths.filter { path in
            path != action && !path.contains { $0.contains("\0") }
                && [path, Array(path.prefix(1))].allSatisfy { survey.fields[$0]?.isRepeated == false }
        }
        var singular = table.split(separator: ".").last.map(String.init) ?? table
        if singular.hasSuffix("s") { singular.removeLast() }
        let ways: [(TableOutline.Column, [String]) -> Bool] = [
            { $1.count == 1 && $1[0] == $0.name }, { plain($1.joined(separator: "_")) == plain($0.name) },
            { $1.count == 2 && plain($1[1]) == plain($0.name) },
            { $1.count == 1 && plain($1[0]) == "id" && plain($0.name) == plain(singular + "_id") },
        ]
        for isPair in ways {
            for column in outline.columns where pairs[column.name] == nil && !column.isGenerated {
                // A field and one inside of it cannot both be read.
                let found = paths.filter { path in
                    isPair(column, path) && !taken.contains { $0.starts(with: path) || path.starts(with: $0) }
                }
                guard found.count == 1, let path = found.first else { continue }
                pairs[column.name] = path
                taken.insert(path)
            }
        }
        return pairs
    }

    // MARK: The key

    /// Tries keys until one names the row of every record of the sample, as the decoder sees it.
    /// - Returns: the key, and what is refused all the same.
    private static func choose(
        _ suggestion: SuggestedMapping, _ records: [RecordBatch], _ outline: TableOutline?, _ parser: SurveyParser
    ) throws(SuggestionFault) -> (SuggestedMapping.Key, refused: [String]) {
        let appended = try refusals(suggestion.text(SuggestedMapping.Key(), head: []), records)
        let required = suggestion.columns.filter { column in
            column.field.best?.isKey == true && column.field.nulls == 0 && column.field.rows == suggestion.survey.rows
                && (suggestion.survey.envelope == .debezium || column.field.deletedRows == suggestion.survey.deletedRows)
        }.map(\.name)
        let hasKeys = records.contains { $0.records.first.map { $0.key.length >= 0 } ?? false }
        var choices: [[String]] = []
        if let key = outline?.key, !key.isEmpty {
            if key.allSatisfy(required.contains) { choices = [key] }
        } else {
            let named = membersOfKeys(records, parser).map { members in
                suggestion.columns.filter { required.contains($0.name) && members.contains($0.field.path.last ?? "") }.map(\.name)
            }
            if let named, !named.isEmpty { choices.append(named) }
            choices += required.sorted { rank($0, suggestion) < rank($1, suggestion) }.map { [$0] }
        }
        for columns in choices where hasKeys {
            let formats: [KafkaKeyFormat] = columns.count == 1 ? [.text, .jsonObject, .jsonArray] : [.jsonArray, .jsonObject]
            for format in formats {
                let key = SuggestedMapping.Key(columns: columns, format: format, remark: "The records' keys name the row.")
                let refused = try refusals(suggestion.text(key, head: [], mismatch: .fault), records, beyond: appended.count)
                if refused.count <= appended.count { return (key, refused) }
            }
        }
        // Keys that name no row, or none at all.
        let guessed = outline?.key.isEmpty == false ? choices.first : choices.first { rank($0[0], suggestion) < 2 }
        if let guessed {
            let remark =
                outline?.key.isEmpty == false
                ? "The table's primary key; the records' keys do not name it, so records without payload delete nothing."
                : "A guess by its name; the records' keys name no row, so records without payload delete nothing."
            let key = SuggestedMapping.Key(columns: guessed, format: .none, remark: remark)
            return (key, try refusals(suggestion.text(key, head: []), records))
        }
        return (SuggestedMapping.Key(), appended)
    }

    /// How likely a column is the key, by its name; the least is the likeliest.
    private static func rank(_ name: String, _ suggestion: SuggestedMapping) -> Int {
        var singular = SuggestedName.snakeCase(suggestion.topic.split(separator: ".").last.map(String.init) ?? "")
        if singular.hasSuffix("s") { singular.removeLast() }
        if name == "id" { return 0 }
        if name == singular + "_id" { return 1 }
        return name.hasSuffix("_id") || name == "uuid" || name == "key" ? 2 : 3
    }

    /// The names that all record keys have as members, where they are JSON objects.
    private static func membersOfKeys(_ records: [RecordBatch], _ parser: SurveyParser) -> Set<String>? {
        var members: Set<String>?
        for batch in records {
            guard let key = batch.records.first.flatMap({ batch.bytes(of: $0.key) }) else { continue }
            // A key has no padding of its own in every batch.
            var copy = ByteBuffer()
            copy.append(key)
            guard let root = parser.parse(copy.bytes), Int(root.type) == SJ_OBJECT else { return nil }
            var fields = parser.fields(of: root)
            if let payload = fields["payload"], Int(payload.type) == SJ_OBJECT { fields = parser.fields(of: payload) }
            members = members?.intersection(fields.keys) ?? Set(fields.keys)
            withExtendedLifetime(copy) {}
        }
        return members
    }

    /// The records that a mapping refuses, each with its sentence.
    /// - Parameter limit: once there are more, the others are not looked at.
    private static func refusals(
        _ text: String, _ records: [RecordBatch], beyond limit: Int = .max
    ) throws(SuggestionFault) -> [String] {
        let mapping: Mapping
        do {
            guard let compiled = try Mapping.compile([YAML.parse(text: text, file: "suggestion")]).first else { return [] }
            mapping = compiled
        } catch {
            throw SuggestionFault(description: "the suggested mapping is not valid, which is a fault of this program: \(error)")
        }
        let decoder = Decoder(mapping: mapping)
        var refused: [String] = []
        for batch in records where refused.count <= limit {
            if case .refused(let reason, let detail) = decoder.trial(of: batch) {
                refused.append("\(batch.source)@\(batch.records[0].offset) (decode:\(reason.rawValue)): \(detail)")
            }
        }
        return refused
    }
}
