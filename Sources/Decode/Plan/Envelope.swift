// Owns what an envelope says: where an event states its operation, and where its row is.

import Records

/// What the events of a mapping look like: the mapping key `envelope`.
public enum EnvelopeKind: String, Sendable, CaseIterable, BitwiseCopyable {
    /// The event is the row, and one of its fields names the operation.
    case action
    /// The event is the row, and every event is an Upsert.
    case upsert
    /// The change events of Debezium, with or without `schema` and `payload`.
    case debezium
    /// CloudEvents in structured mode: the row is in `data`.
    case cloudevents

    /// The tokens of the pointer to the row.
    var row: [String] {
        switch self {
        case .action, .upsert: []
        case .debezium: ["after"]
        case .cloudevents: ["data"]
        }
    }
}

/// A compiled envelope. Slots are −1 where the envelope has no such field.
final class Envelope: Sendable {
    /// The slots of the envelope's own fields.
    struct Slots: BitwiseCopyable {
        /// The field that names the operation; without one every event is an Upsert.
        var operation = -1
        /// The row; −1: the event itself.
        var row = -1
        /// Debezium's former row.
        var before = -1
        /// The change event, where it is sent with its schema.
        var payload = -1
        /// The version of the CloudEvents specification, and data that is not JSON.
        var version = -1, base64 = -1
    }

    let kind: EnvelopeKind
    let slots: Slots
    /// The words of the operation's field, in the mapping's order.
    let words: [String]
    /// The operation of each word.
    let operations: PlanTable<Operation>
    let names: NameTable
    /// Of Debezium: the fields that may hold the placeholder for a value that did not change.
    let placeholders: PlanTable<PlaceholderStep>

    init(
        _ kind: EnvelopeKind, slots: Slots, words: [(text: String, operation: Operation)], placeholders: [PlaceholderStep] = []
    ) {
        self.kind = kind
        self.slots = slots
        self.words = words.map(\.text)
        operations = PlanTable(words.map(\.operation))
        names = NameTable(self.words)
        self.placeholders = PlanTable(placeholders)
    }
}

/// A field that may hold the placeholder for a value that did not change. Several columns may read it.
struct PlaceholderStep: Sendable, BitwiseCopyable {
    let slot: Int
    /// The field may be absent as well: all columns that read it say so.
    var isOptional: Bool
}

/// What Debezium's documentation says of its change events.
enum Debezium {
    /// The operations that a row's event may state in `op`. `t` truncates the table, `m` is a message of the application.
    static let operations: [(text: String, operation: Operation)] = [
        ("c", .upsert), ("r", .upsert), ("u", .upsert), ("d", .delete),
    ]
    static let truncate = UInt8(ascii: "t")
    static let message = UInt8(ascii: "m")

    /// Stands for a value that did not change and that the log of the source does not have (the connector's default of
    /// `unavailable.value.placeholder`).
    static let placeholder: StaticString = "__debezium_unavailable_value"
    /// Its forms: as text; as binary values travel, in base64 and hex; of an hstore that travels as a JSON text; in arrays of UUIDs, as
    /// `UUID.nameUUIDFromBytes` of Java makes one of it. Arrays of integers and of days have its bytes as elements.
    static let placeholders = NameTable([
        "\(placeholder)", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565", #"{"\#(placeholder)":"\#(placeholder)"}"#,
        "b68a35a7-17ad-35b3-af2a-ae46edb4545a",
    ])
    static let placeholderCount = 4
    static let placeholderCountInArrays = 5

    /// The fields by which records without `op` are told apart: heartbeats and the records of the transaction topic.
    static let otherFields = NameTable(["ts_ms", "status", "data_collections"])
    static let transactionStates = NameTable(["BEGIN", "END"])
}
