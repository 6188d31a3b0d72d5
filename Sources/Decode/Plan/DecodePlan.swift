// The plan a mapping is compiled to: which fields of which objects are looked up, and how each column is read from them.

import Records

/// One object (or array) of an event from which fields are read.
struct ObjectStep: Sendable, BitwiseCopyable {
    /// Slot of the object; −1: the event itself.
    let parent: Int
    /// Its fields have `count` slots from `first` on.
    let first: Int
    let count: Int
}

/// The source of a column's value.
enum ColumnSource: Sendable, BitwiseCopyable {
    /// A field of the event: its slot.
    case field(Int)
    /// The topic, the partition or a constant: the same for every record of a batch, and written once per batch.
    case fixed
    /// The record's offset.
    case offset
    /// The record's timestamp, milliseconds since 1970.
    case timestamp
    /// The record's key.
    case key
    /// The value of a header: index of its name in ``DecodePlan/headers``.
    case header(Int)
    /// The whole event.
    case event
}

/// How the decoder reads one column.
struct ColumnStep: Sendable, BitwiseCopyable {
    let source: ColumnSource
    let codec: ValueCodec
    let isOptional: Bool
    let isNullable: Bool
    /// Position in the key; −1: not a key column.
    let keyPosition: Int

    var type: ColumnType { codec.type }
}

/// The value of a `fixed` column.
enum FixedValue: Sendable {
    case topic
    case partition
    /// A value in its column's binary form.
    case constant([UInt8])
}

/// The `action` envelope: a field whose text names the operation.
final class ActionEnvelope: Sendable {
    /// The field's slot.
    let slot: Int
    /// The words, in the mapping's order.
    let words: [String]
    /// The operation of each word.
    let operations: PlanTable<Operation>
    let names: NameTable

    init(slot: Int, words: [(text: String, operation: Operation)]) {
        self.slot = slot
        self.words = words.map(\.text)
        operations = PlanTable(words.map(\.operation))
        names = NameTable(self.words)
    }
}

/// A mapping's plan. Immutable; decoders share it.
///
/// Every field of an event that is read has a *slot*. The fields of one object have consecutive slots, so that one pass over the
/// object fills them. Objects are ordered so that a parent precedes its children, and those that the envelope and the key need
/// precede the others: for a Delete only these are read.
final class DecodePlan: Sendable {
    let objects: PlanTable<ObjectStep>
    /// How many of `objects` the envelope and the key need.
    let essentialObjects: Int
    let columns: PlanTable<ColumnStep>
    /// Positions of the key's columns, in key order.
    let key: [Int]
    let envelope: ActionEnvelope
    let kafkaKey: KafkaKeyFormat
    let fixed: [(column: Int, value: FixedValue)]
    let headers: [String]
    /// The JSON Pointer of each slot.
    let pointers: [JSONPointer]
    /// The array index that each slot's token stands for; −1: none.
    let indices: [Int]
    let columnNames: [String]
    let names: NameTable
    /// A column needs values' own texts in the document.
    let needsTokens: Bool

    init(
        objects: [ObjectStep], essentialObjects: Int, columns: [ColumnStep], key: [Int], envelope: ActionEnvelope,
        kafkaKey: KafkaKeyFormat, fixed: [(column: Int, value: FixedValue)], headers: [String], pointers: [JSONPointer],
        columnNames: [String]
    ) {
        self.objects = PlanTable(objects)
        self.essentialObjects = essentialObjects
        self.columns = PlanTable(columns)
        self.key = key
        self.envelope = envelope
        self.kafkaKey = kafkaKey
        self.fixed = fixed
        self.headers = headers
        self.pointers = pointers
        self.columnNames = columnNames
        needsTokens = columns.contains { column in
            switch column.source {
            case .field, .event: column.codec.needsTokens
            case .fixed, .offset, .timestamp, .key, .header: false
            }
        }
        indices = pointers.map { $0.tokens.last.flatMap(JSONPointer.index) ?? -1 }
        names = NameTable(pointers.map { $0.tokens.last ?? "" })
    }
}
