// Finds out from a topic's payloads which envelope they have.

import CSimdjson
import Records

/// What the payloads of a topic look like as a whole.
struct EnvelopeSurvey {
    /// A field that names the operation, and the words that were seen in it.
    struct Action {
        let field: String
        let words: [(text: String, operation: Operation)]

        func operation(of word: String) -> Operation? { words.first { $0.text == word }?.operation }
    }

    private(set) var objects = 0
    /// Payloads that are no JSON object.
    private(set) var others = 0
    private(set) var withoutPayload = 0
    private var changeEvents = 0
    private var besideChangeEvents = 0
    private var cloudEvents = 0
    /// The strings of top-level fields whose names suggest an operation.
    private var words: [String: (events: Int, words: Set<String>)] = [:]

    /// Names of fields that may name the operation, in snake_case; the first one counts.
    private static let actionNames = [
        "action", "op", "operation", "event", "event_type", "change_type", "change", "verb", "type",
    ]

    mutating func add(_ payload: UnsafeRawBufferPointer?, _ parser: SurveyParser) {
        guard let payload, !payload.isJSONNull else {
            withoutPayload += 1
            return
        }
        guard let root = parser.parse(payload), Int(root.type) == SJ_OBJECT else {
            others += 1
            return
        }
        objects += 1
        let fields = parser.fields(of: root)
        for (name, value) in fields where Self.actionNames.contains(SuggestedName.snakeCase(name)) && Int(value.type) == SJ_STRING
        {
            words[name, default: (0, [])].events += 1
            if words[name]!.words.count < 32 { words[name]!.words.insert(String(decoding: parser.string(value), as: UTF8.self)) }
        }
        if let version = fields["specversion"], Int(version.type) == SJ_STRING, parser.string(version).starts(with: "1.".utf8),
            fields["data"] != nil
        {
            cloudEvents += 1
        }
        let change = Self.changeEvent(fields, parser)
        if let op = change["op"], Int(op.type) == SJ_STRING, parser.string(op).count == 1,
            "crudtm".utf8.contains(parser.string(op)[0]),
            change["before"] != nil || change["after"] != nil || change["source"] != nil
        {
            changeEvents += 1
        } else if change["op"] == nil, change["ts_ms"] != nil || change["status"] != nil {
            besideChangeEvents += 1
        }
    }

    /// The fields of a change event, which may be sent with its schema.
    static func changeEvent(_ fields: [String: sj_value], _ parser: SurveyParser) -> [String: sj_value] {
        guard fields["op"] == nil, let payload = fields["payload"], Int(payload.type) == SJ_OBJECT else { return fields }
        return parser.fields(of: payload)
    }

    var kind: EnvelopeKind {
        if changeEvents > 0, changeEvents + besideChangeEvents == objects { return .debezium }
        if cloudEvents > 0, cloudEvents == objects { return .cloudevents }
        return action == nil ? .upsert : .action
    }

    /// The field that names the operation: a string in every event, of known words only.
    var action: Action? {
        let found = words.filter { $0.value.events == objects && $0.value.words.allSatisfy { Self.operation($0) != nil } }
        func rank(_ name: String) -> Int { Self.actionNames.firstIndex(of: SuggestedName.snakeCase(name)) ?? .max }
        guard let field = found.keys.min(by: { (rank($0), $0) < (rank($1), $1) }), let seen = found[field] else { return nil }
        return Action(
            field: field,
            words: seen.words.sorted().compactMap { word in Self.operation(word).map { (word, $0) } })
    }

    private static let known: [(Operation, [String])] = [
        (.create, ["c", "create", "created", "insert", "inserted", "add", "added", "new", "placed", "registered"]),
        (.update, ["u", "update", "updated", "change", "changed", "modify", "modified", "edit", "edited"]),
        (.upsert, ["upsert", "upserted", "save", "saved", "put", "replace", "replaced", "merge", "merged"]),
        (.delete, ["d", "delete", "deleted", "remove", "removed", "destroy", "destroyed", "cancelled", "canceled"]),
    ]

    /// The operation that a word means: `Create`, `order.created` and `OrderCreated` are one.
    static func operation(_ word: String) -> Operation? {
        guard let last = SuggestedName.snakeCase(word).split(separator: "_").last else { return nil }
        return known.first { $0.1.contains(String(last)) }?.0
    }
}
