// Declares the tables and mappings that are drained.

/// A table, its mapping, and the events that fill it. All tables are called `messages` and have the key `message_id`.
enum DrainShape: String, Sendable, CaseIterable {
    /// The example's, without the triggers of change capture.
    case plain
    /// The example's.
    case captured
    /// Ten optional columns.
    case fields
    /// Plain rows in change events of Debezium.
    case debezium
    /// Ten columns of different types.
    case mixed
    /// Plain rows with a version.
    case version
    /// Plain rows into a table without a key.
    case append

    /// What the events of the shape hold.
    var data: EventStream.Data {
        switch self {
        case .plain, .captured, .append: .message
        case .fields: .allFields
        case .debezium: .debezium
        case .mixed: .mixedTypes
        case .version: .versioned
        }
    }

    /// The columns of the table; `nil`: the example's table.
    var columns: String? {
        switch self {
        case .plain, .captured, .debezium: nil
        case .fields: "message_id int PRIMARY KEY, " + Self.fieldNames.map { "\($0) text" }.joined(separator: ", ")
        case .mixed:
            "message_id int PRIMARY KEY, total int8, price numeric, ratio float8, paid bool, created timestamptz, day date, "
                + "ref uuid, note text, tags jsonb"
        case .version:
            "message_id int PRIMARY KEY, name varchar NOT NULL, message varchar NOT NULL, "
                + "last_updated date NOT NULL DEFAULT current_date, version int8"
        case .append:
            "message_id int, name varchar NOT NULL, message varchar NOT NULL, last_updated date NOT NULL DEFAULT current_date"
        }
    }

    /// The lines of the mapping that follow topics, table and key; `nil`: the example's mapping.
    var mapping: String? {
        let message = """
              name: {path: /data/name, type: text}
              message: {path: /data/message, type: text}

            """
        switch self {
        case .plain, .captured: return nil
        case .fields:
            let columns = Self.fieldNames.map { "  \($0): {path: /data/\($0), type: text, optional: true}\n" }.joined()
            return Self.action + Self.key + columns
        case .debezium:
            return """
                envelope: debezium
                columns:
                  message_id: {path: /message_id, type: int4}
                  name: {path: /name, type: text}
                  message: {path: /message, type: text}
                on_update: {last_updated: current_date}

                """
        case .mixed:
            return Self.action + Self.key + """
                  total: {path: /data/total, type: int8}
                  price: {path: /data/price, type: numeric}
                  ratio: {path: /data/ratio, type: float8}
                  paid: {path: /data/paid, type: bool}
                  created: {path: /data/created, type: timestamptz}
                  day: {path: /data/day, type: date}
                  ref: {path: /data/ref, type: uuid}
                  note: {path: /data/note, type: text}
                  tags: {path: /data/tags, type: jsonb}

                """
        case .version:
            return "version: {column: version, null_payload: skip}\n" + Self.action + Self.key + message
                + "  version: {path: /data/version, type: int8}\non_update: {last_updated: current_date}\n"
        case .append: return "mode: append\n" + Self.action + Self.key + message
        }
    }

    /// A mapping of the same events to a table of its own, `other`.
    static func otherMapping(topic: String) -> String {
        "topics: [\(topic)]\ntable: other\nkey: [message_id]\n" + action + key
    }

    private static let action =
        "action: {path: /action, create: [Create], update: [Update], upsert: [Upsert], delete: [Delete]}\n"
    private static let key = "columns:\n  message_id: {path: /message_id, type: int4}\n"
    private static let fieldNames = (0..<EventStream.fields).map { "f\($0)" }
}
