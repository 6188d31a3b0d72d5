// The plan a mapping is compiled to: which fields of which objects are looked up, and how each column is read from them.

import Records

/// For what a field is needed first: for conditions and the envelope, for a Delete, for the rest of the row.
enum FieldNeed: Int, Comparable, Sendable, BitwiseCopyable {
    case condition, delete, row

    static func < (a: FieldNeed, b: FieldNeed) -> Bool { a.rawValue < b.rawValue }
}

/// One object (or array) of an event from which fields are read.
struct ObjectStep: Sendable, BitwiseCopyable {
    /// Slot of the object; −1: the event itself.
    let parent: Int
    /// Its fields have `count` slots from `first` on.
    let first: Int
    let count: Int
    /// For what values inside of it are needed first, by columns and the action; `condition`: they read none.
    let columnsNeed: FieldNeed
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
    /// A Delete has a value for it: it is in the key, or the version.
    let isInDeletes: Bool

    /// The type of the column's values.
    var type: ColumnType { codec.hasher == nil ? codec.type : .text }

    /// The same without a hash.
    var plain: ColumnStep { with(codec.plain) }

    /// The same with another codec.
    func with(_ codec: ValueCodec) -> ColumnStep {
        ColumnStep(
            source: source, codec: codec, isOptional: isOptional, isNullable: isNullable, keyPosition: keyPosition,
            isInDeletes: isInDeletes)
    }
}

/// What a record without payload means where the table has a version.
enum NullPayload: Sendable, BitwiseCopyable {
    /// Nothing: it is skipped.
    case skipped
    /// A Delete at the version that it has by `step`, in this column.
    case versioned(column: Int, step: ColumnStep)
}

/// The value of a `fixed` column.
enum FixedValue: Sendable {
    case topic
    case partition
    /// A value in its column's binary form.
    case constant([UInt8])
}

/// A mapping's plan. Immutable; decoders share it.
///
/// Every field of an event that is read has a *slot*. The fields of one object have consecutive slots, so that one pass over the
/// object fills them. Objects are ordered so that a parent precedes its children; those that conditions and the envelope need come first,
/// then those that the key needs: for a Delete only these are read.
final class DecodePlan: Sendable {
    let objects: PlanTable<ObjectStep>
    /// How many of `objects` the conditions need.
    let conditionObjects: Int
    /// How many of `objects` the envelope, the conditions and the key need.
    let essentialObjects: Int
    let columns: PlanTable<ColumnStep>
    /// The columns with their values as they are: the events of a row are produced with its key, and not with a hash of it.
    let plainColumns: PlanTable<ColumnStep>
    /// The columns whose format a schema of Debezium may name.
    let schemaColumns: [SchemaColumn]
    /// What the columns' hashers point to.
    private let hashKeys: [HashKey]
    /// Positions of the key's columns, in key order.
    let key: [Int]
    /// The slots of the key's columns, in key order.
    let keySlots: PlanTable<Int>
    let envelope: Envelope
    let mode: WriteMode
    let conditions: Conditions
    let kafkaKey: KafkaKeyFormat
    let kafkaKeyMismatch: KafkaKeyMismatch
    /// The names by which a record key that is a JSON object has the key's columns.
    let keyNames: RecordKeyNames
    /// How a record without payload deletes a row of a table with a version; `nil`: the table has none.
    let nullPayload: NullPayload?
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

    /// The path of a field, for messages.
    /// - Parameter isFormer: the row was read from Debezium's `before`.
    func path(_ slot: Int, ofFormerRow isFormer: Bool) -> String {
        let tokens = pointers[slot].tokens
        guard isFormer, tokens.starts(with: envelope.kind.row) else { return pointers[slot].text }
        return JSONPointer(tokens: ["before"] + tokens.dropFirst()).text
    }

    init(
        layout: SlotTree.Layout, columns: [ColumnStep], key: [Int], envelope: Envelope, mode: WriteMode, conditions: Conditions,
        kafkaKey: KafkaKeyFormat, kafkaKeyMismatch: KafkaKeyMismatch, nullPayload: NullPayload?,
        fixed: [(column: Int, value: FixedValue)], headers: [String], columnNames: [String], hashKeys: [HashKey],
        schemaColumns: [SchemaColumn]
    ) {
        objects = PlanTable(layout.objects)
        conditionObjects = layout.conditionObjects
        essentialObjects = layout.essentialObjects
        pointers = layout.pointers
        self.columns = PlanTable(columns)
        plainColumns = hashKeys.isEmpty ? self.columns : PlanTable(columns.map(\.plain))
        self.hashKeys = hashKeys
        self.schemaColumns = schemaColumns
        self.key = key
        self.envelope = envelope
        self.mode = mode
        self.conditions = conditions
        self.kafkaKey = kafkaKey
        self.kafkaKeyMismatch = kafkaKeyMismatch
        self.nullPayload = nullPayload
        self.fixed = fixed
        self.headers = headers
        self.columnNames = columnNames
        // A schema may name a form that needs them.
        needsTokens =
            !schemaColumns.isEmpty
            || columns.contains { column in
                switch column.source {
                case .field, .event: column.codec.needsTokens
                case .fixed, .offset, .timestamp, .key, .header: false
                }
            }
        indices = pointers.map { $0.tokens.last.flatMap(JSONPointer.index) ?? -1 }
        names = NameTable(pointers.map { $0.tokens.last ?? "" })
        let slots = key.map { column in
            guard case .field(let slot) = columns[column].source else { preconditionFailure("key columns are fields") }
            return slot
        }
        keySlots = PlanTable(slots)
        keyNames = RecordKeyNames(
            zip(slots, key).map { slot, column in (layout.pointers[slot].tokens.last ?? "", columnNames[column]) })
    }
}
