// The plan a mapping is compiled to: which fields of which objects to look up, and what each column makes of them.

import Records

/// One object (or array) of an event whose parts the plan reads.
struct ObjectStep: Sendable, BitwiseCopyable {
    /// Slot that holds the object; −1: the event itself.
    let parent: Int
    /// Its parts take `count` slots from `first` on.
    let first: Int
    let count: Int
}

/// Where a column's value comes from.
enum ColumnSource: Sendable, BitwiseCopyable {
    /// A field of the event: its slot.
    case field(Int)
    /// The same for every record of a batch: written once a batch. The topic, the partition, a constant.
    case fixed
    /// The record's offset.
    case offset
    /// The record's timestamp, milliseconds since 1970.
    case timestamp
    /// The record's key.
    case key
    /// The value of a header: position of its name in ``DecodePlan/headers``.
    case header(Int)
}

/// What the decoder does for one column.
struct ColumnStep: Sendable, BitwiseCopyable {
    let source: ColumnSource
    let type: ColumnType
    let isOptional: Bool
    let isNullable: Bool
    /// Position in the key; −1: not of the key.
    let keyPosition: Int
}

/// What a `fixed` column holds.
enum FixedValue: Sendable {
    case topic
    case partition
    /// A value in its column's binary form.
    case constant([UInt8])
}

/// How an event says what it is: the port for further envelopes.
enum Envelope: Sendable {
    case action(ActionEnvelope)
}

/// The `action` envelope: a field whose text names the operation.
final class ActionEnvelope: Sendable {
    /// The field's slot.
    let slot: Int
    /// The words, in the mapping's order.
    let words: [String]
    /// What each word means.
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
/// Every place of an event that is read has a *slot*. The parts of one object have consecutive slots, so that one pass over the
/// object fills them. Objects come in an order in which a parent precedes its children, and those that the envelope and the key
/// need precede the others: a Delete looks no further.
final class DecodePlan: Sendable {
    let objects: PlanTable<ObjectStep>
    /// How many of `objects` the envelope and the key need.
    let essentialObjects: Int
    let columns: PlanTable<ColumnStep>
    /// Positions of the key's columns, in key order.
    let key: [Int]
    let envelope: Envelope
    let kafkaKey: KafkaKeyFormat
    let fixed: [(column: Int, value: FixedValue)]
    let headers: [String]
    /// The JSON Pointer of each slot.
    let pointers: [JSONPointer]
    /// The element each slot's token names in an array; −1: none.
    let indices: [Int]
    let columnNames: [String]
    let names: NameTable

    init(
        objects: [ObjectStep], essentialObjects: Int, columns: [ColumnStep], key: [Int], envelope: Envelope,
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
        indices = pointers.map { $0.tokens.last.flatMap(JSONPointer.index) ?? -1 }
        names = NameTable(pointers.map { $0.tokens.last ?? "" })
    }
}
