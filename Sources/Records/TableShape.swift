// Declares what Decode and Apply agree on: a table, its columns in order, and its key columns.

/// One column that a mapping fills.
public struct ColumnShape: Sendable, Equatable {
    /// The column's name, unquoted.
    public let name: String
    /// The type that its values, or their elements, are read as.
    public let type: ColumnType
    /// Its values are one-dimensional arrays of ``type``.
    public let isArray: Bool
    /// The SQL name of the type to which the server casts its values; `nil`: the column takes them as they are.
    public let cast: String?
    /// The field may be absent: the column then keeps its value, or gets its default on insert.
    public let isOptional: Bool
    /// The value may be null.
    public let isNullable: Bool

    /// A column that a mapping fills.
    public init(
        name: String, type: ColumnType, isArray: Bool = false, cast: String? = nil, isOptional: Bool = false,
        isNullable: Bool = false
    ) {
        self.name = name
        self.type = type
        self.isArray = isArray
        self.cast = cast
        self.isOptional = isOptional
        self.isNullable = isNullable
    }

    /// The type that its values are sent as. `unnest` takes arrays apart down to their elements, so an array travels as its text.
    public var wireType: ColumnType { isArray || type == .interval ? .text : type }

    /// What SQL makes of a value that was sent; `nil`: nothing.
    public var sqlCast: String? { cast ?? (isArray || type == .interval ? typeName : nil) }

    /// The type as a mapping file names it.
    public var typeName: String { isArray ? type.arrayName : type.rawValue }
}

/// The value of an `on_update` column.
public enum OnUpdateValue: String, Sendable, CaseIterable {
    /// `CURRENT_DATE`
    case currentDate = "current_date"
    /// `CURRENT_TIMESTAMP`
    case now
}

/// How events are written to the table.
public enum WriteMode: String, Sendable, CaseIterable {
    /// Events create, change and delete rows by key.
    case upsert
    /// Every event is a new row.
    case append
}

/// How a mapping asks its table to be written.
public struct WriteChoice: Sendable, Equatable {
    /// The mapping key `write`.
    public enum Strategy: String, Sendable, CaseIterable {
        /// The fastest that the catalog allows.
        case auto
        /// Net changes only, whatever the catalog shows.
        case coalesce
        /// Every event in rounds, whatever the catalog shows.
        case rounds
        /// Every event strictly after the one before it.
        case sequential
    }

    /// The mapping key `triggers`: what the table's row triggers read and write.
    public enum Triggers: String, Sendable, CaseIterable {
        /// Any row.
        case unknown
        /// Of this table the row that they run for, and no other.
        case rowLocal = "row_local"
    }

    /// The strategy that is asked for.
    public var strategy: Strategy
    /// What row triggers read and write.
    public var triggers: Triggers

    /// Defaults to what is right for every table.
    public init(_ strategy: Strategy = .auto, triggers: Triggers = .unknown) {
        self.strategy = strategy
        self.triggers = triggers
    }
}

/// The table of a mapping: the columns that Decode fills and Apply writes, in the same order.
public struct TableShape: Sendable, Equatable {
    /// The schema's name, unquoted; `nil`: resolved by `search_path`.
    public let schema: String?
    /// The table's name, unquoted.
    public let name: String
    /// Columns in the order of the cells of a ``ChangeBatch``.
    public let columns: [ColumnShape]
    /// Positions in ``columns`` of the key, in key order.
    public let key: [Int]
    /// How events are written to the table.
    public let mode: WriteMode
    /// `on_update` columns: set by Update and Upsert on a row that is present, in addition to the columns of the event.
    public let onUpdate: [(column: String, value: OnUpdateValue)]
    /// How the mapping asks the table to be written.
    public let write: WriteChoice

    /// The table of a mapping.
    public init(
        schema: String? = nil, name: String, columns: [ColumnShape], key: [Int], mode: WriteMode = .upsert,
        onUpdate: [(column: String, value: OnUpdateValue)] = [], write: WriteChoice = WriteChoice()
    ) {
        self.schema = schema
        self.name = name
        self.columns = columns
        self.key = key
        self.mode = mode
        self.onUpdate = onUpdate
        self.write = write
    }

    /// Field by field.
    public static func == (a: TableShape, b: TableShape) -> Bool {
        a.schema == b.schema && a.name == b.name && a.columns == b.columns && a.key == b.key && a.mode == b.mode
            && a.write == b.write && a.onUpdate.elementsEqual(b.onUpdate) { $0 == $1 }
    }
}
