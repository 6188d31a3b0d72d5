// Declares the keys of a mapping file: those who read it know no others, and editors complete and check them.

import Platform
import Records
public import Settings

/// A key of a mapping file.
struct MappingKey: Sendable {
    let name: String
    let help: String
    let schema: JSONSchema
    let isRequired: Bool

    /// - Parameters:
    ///   - help: one or two sentences, for people who write mappings.
    ///   - standard: what a mapping without the key has.
    ///   - isRequired: a mapping without the key is refused.
    init(_ name: String, _ schema: JSONSchema, standard: JSONValue? = nil, isRequired: Bool = false, _ help: String) {
        self.name = name
        self.help = help
        self.isRequired = isRequired
        self.schema = schema.described(help, standard: standard)
    }
}

/// The keys of each part of a mapping file.
enum MappingKeys {
    private static let pointer = "JSON Pointer (RFC 6901): '/' before each name, and in names '~1' for '/' and '~0' for '~'."
    /// Also `null`, which a mapping's reader takes for a word.
    private static let text = JSONSchema(["type": ["string", "number", "boolean", "null"]])
    private static let now = choice(OnUpdateValue.self)

    /// The keys of the file.
    static let file: [MappingKey] = [
        MappingKey(
            "topics", .oneOrMore(text), isRequired: true,
            "Topics whose events become rows of the table: names, or regular expressions (POSIX extended) that begin with ^."),
        MappingKey(
            "envelope", choice(EnvelopeKind.self), standard: .string(EnvelopeKind.action.rawValue),
            "What an event looks like. action: an object of which a field names the operation; upsert: a plain object; debezium: a "
                + "change event of Debezium; cloudevents: a CloudEvent in structured mode."),
        MappingKey("table", text, isRequired: true, "The table, as a name or as schema.name."),
        MappingKey(
            "mode", choice(WriteMode.self), standard: .string(WriteMode.upsert.rawValue),
            "upsert: events create, change and delete rows by key; append: every event is a new row; insert_only: rows are inserted "
                + "where absent, and never changed or deleted."),
        MappingKey(
            "write", choice(WriteChoice.Strategy.self), standard: .string(WriteChoice.Strategy.auto.rawValue),
            "How events are written. auto: the fastest that the table allows; coalesce: the events of a key in a batch become one "
                + "change; rounds: every event is written, the n-th of every key in the n-th statement; sequential: one after the other."
        ),
        MappingKey(
            "triggers", choice(WriteChoice.Triggers.self), standard: .string(WriteChoice.Triggers.unknown.rawValue),
            "What row triggers of the table read and write. unknown: any row; row_local: of this table only the row "
                + "they run for."),
        MappingKey("key", .oneOrMore(text), "The columns that name a row. They have a path. Only mode append needs none."),
        MappingKey(
            "kafka_key", choice(KafkaKeyFormat.self),
            "How a record's key names the row. text: the key column; json_array: the key columns in the order of key; json_object: an "
                + "object, with or without Kafka Connect's schema; none: it names no row."),
        MappingKey(
            "kafka_key_mismatch", choice(KafkaKeyMismatch.self), standard: .string(KafkaKeyMismatch.warn.rawValue),
            "What happens to an event whose record key names another row than its payload. warn: it is applied and counted; fault: it "
                + "becomes a dead letter; ignore: nobody looks."),
        MappingKey(
            "action", object(action).and([.one(of: ["path", "event_path"])]),
            "Which field names the operation, and the words for each operation."),
        MappingKey(
            "columns", .map(of: columnSchema, takesNothing: false), isRequired: true, "The columns by name, and their sources."),
        MappingKey("on_update", .map(of: now, takesNothing: false), "Columns that every Update and Upsert of a row sets."),
        MappingKey(
            "delete", .any([choice(MappingReader.Deletion.self), object(deletion)]),
            standard: .string(MappingReader.Deletion.row.rawValue),
            "What a Delete does. row: it removes the row; {set: {deleted_at: now}}: it sets these columns instead."),
        MappingKey(
            "version", .any([text, object(version)]),
            "The column that says how new an event is: an older one never overwrites a newer row, nor inserts a deleted one again."
        ),
        MappingKey(
            "skip_unchanged", .flag, standard: false,
            "true: an update that would leave the mapping's columns as they are is not written."),
        MappingKey(
            "where", .any([conditionSchema, .list(of: conditionSchema, atLeast: 1)]),
            "Conditions that an event must meet, all of them; one that does not is skipped and counted."),
    ]

    /// The keys of a column.
    static let column: [MappingKey] =
        [
            MappingKey("path", text, "A field of the row. \(pointer) '' is the whole event, for json and jsonb."),
            MappingKey("event_path", text, "A field of the whole event. \(pointer)"),
            MappingKey("metadata", text, "Of the record: topic, partition, offset, timestamp, key or headers.NAME."),
            MappingKey("constant", text, "The same value in every row."),
            MappingKey(
                "type", .choice(ColumnType.allCases.map(\.rawValue) + ColumnType.allCases.map(\.arrayName)),
                "The column's type; for any other use cast."),
            MappingKey(
                "cast", text,
                "Any other type, as SQL names it, such as inet, public.citext or vector(3): the server "
                    + "casts the text."),
            MappingKey(
                "format", choice(ValueFormat.self),
                "How the value is written, where that is not the type's usual form. base64_decimal needs a scale."),
            MappingKey(
                "scale", .number("integer", pattern: "[-+]?[0-9]+", least: -16_383, most: 16_383),
                "Digits after the point of a base64_decimal."),
            MappingKey(
                "nul", choice(NULPolicy.self), standard: .string(NULPolicy.refuse.rawValue),
                "What is done about \\u0000, which PostgreSQL cannot store. strip: it is left out; replace: U+FFFD "
                    + "takes its place."),
            MappingKey(
                "hash", choice(HashKind.self),
                "The column, of type text, gets the HMAC of the value's text as 64 hexadecimal digits; null stays null."),
            MappingKey(
                "hash_key", text,
                "The file with the key of the hash, relative to the mapping file: its bytes, at least 16, without a line break at "
                    + "the end."),
            MappingKey(
                "optional", .flag, "The field may be absent: an update keeps the column's value, an insert gives it its default."),
            MappingKey("nullable", .flag, "The value may be null."),
        ] + policy

    /// The keys of a column that say what updates do to it.
    static let policy: [MappingKey] = [
        MappingKey(
            "on", choice(ColumnPolicy.Occasion.self), standard: .string(ColumnPolicy.Occasion.always.rawValue),
            "Which writes set the column. insert: an update keeps its value; update: an insert gives it its default."),
        MappingKey("if_null", choice(MappingReader.IfNull.self), "keep: an update with a null keeps the column's value."),
        MappingKey(
            "merge", choice(MappingReader.Merge.self),
            "jsonb_concat: an update adds the event's object to the row's, "
                + "as || does."),
    ]

    /// The keys of `action`; each operation has the words that name it.
    static let action: [MappingKey] =
        [
            MappingKey("path", text, "The field that names the operation, in the row. \(pointer)"),
            MappingKey("event_path", text, "The field that names the operation, in the whole event. \(pointer)"),
        ]
        + Operation.allCases.map { MappingKey("\($0)", .oneOrMore(text), "Words that mean: \($0) the row.") }

    /// Where a condition of `where` finds its value.
    static let places: [MappingKey] = [
        MappingKey("path", text, "A field of the row. \(pointer)"),
        MappingKey("event_path", text, "A field of the whole event. \(pointer)"),
        MappingKey("header", text, "The last header of this name."),
    ]
    /// What a condition of `where` asks of its value.
    static let tests: [MappingKey] = [
        MappingKey("equals", text, "The value is this word, number or boolean."),
        MappingKey("in", .oneOrMore(text), "The value is one of these."),
        MappingKey("exists", .flag, "true: there is a value other than null; false: there is none, or null."),
    ]

    /// The key of a `delete` that removes nothing.
    static let deletion: [MappingKey] = [
        MappingKey("set", .map(of: now, takesNothing: false), isRequired: true, "The columns that a Delete sets.")
    ]

    /// The keys of a `version` that is more than a column's name.
    static let version: [MappingKey] = [
        MappingKey("column", text, isRequired: true, "The column, of an integer type, date, timestamp or timestamptz."),
        MappingKey(
            "equal", choice(VersionDeclaration.Equal.self), standard: .string(VersionDeclaration.Equal.last.rawValue),
            "Which of two events with the same version stays."),
        MappingKey(
            "null_payload", JSONSchema(["type": "string", "pattern": #"^(timestamp|skip|headers\..+)$"#]),
            "The version of a record without payload: timestamp, headers.NAME, or skip where such records are skipped."),
    ]

    // MARK: Schemas

    private static func choice<Choice: RawRepresentable<String> & CaseIterable>(_ type: Choice.Type) -> JSONSchema {
        .choice(type.allCases.map(\.rawValue))
    }

    private static func object(_ keys: [MappingKey]) -> JSONSchema {
        .object(keys.map { ($0.name, $0.schema, $0.isRequired) })
    }

    private static let columnSchema = object(column).and([
        .one(of: ColumnCompiler.sources),
        .any(["type", "cast", "metadata"].map { JSONSchema(["required": [.string($0)]]) }),
    ])

    private static let conditionSchema = object(places + tests).and([.one(of: places.names), .one(of: tests.names)])

    /// The schema of the file.
    static let schema = object(file).and([
        .any([JSONSchema(["required": ["key"]]), isChosen("mode", [WriteMode.append.rawValue])]),
        .any([
            JSONSchema(["required": ["action"]]),
            isChosen("envelope", EnvelopeKind.allCases.filter { $0 != .action }.map(\.rawValue)),
        ]),
    ])

    /// A key has one of these words.
    private static func isChosen(_ name: String, _ words: [String]) -> JSONSchema {
        JSONSchema(["required": [.string(name)], "properties": .object([.init(name, JSONSchema.choice(words).json)])])
    }
}

extension [MappingKey] {
    /// The names of the keys.
    var names: [String] { map(\.name) }
}

extension Mapping {
    /// The JSON Schema of a mapping file: every declared key, and no other.
    public static var jsonSchema: JSONSchema { MappingKeys.schema }

    /// The key files that a mapping file names, also if it has faults.
    public static func hashKeyFiles(of file: YAMLNode) -> [String] {
        (file["columns"]?.mapping ?? []).compactMap { $0.value["hash_key"]?.scalar }.map { HashKey.path($0.text, in: file.file) }
    }
}
