// Declares what Decode and Apply agree on: a table, its columns in order, and its key columns.

/// How a mapping's column is written, beyond being set to the event's value. The default is that alone.
public struct ColumnPolicy: Sendable, Equatable {
    /// The mapping key `on`: which writes of a row set the column.
    public enum Occasion: String, Sendable, CaseIterable {
        /// Inserts and updates.
        case always
        /// Inserts only: an update keeps the row's value.
        case insert
        /// Updates only: an insert gives the column its default.
        case update
    }

    /// Which writes of a row set the column.
    public var occasion: Occasion
    /// `if_null: keep`: an update with a null keeps the row's value.
    public var keepsIfNull: Bool
    /// `merge: jsonb_concat`: an update adds the event's object to the row's, as `jsonb || jsonb` does.
    public var isMerged: Bool

    /// How a column is written.
    public init(_ occasion: Occasion = .always, keepsIfNull: Bool = false, isMerged: Bool = false) {
        self.occasion = occasion
        self.keepsIfNull = keepsIfNull
        self.isMerged = isMerged
    }
}

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
    public var isOptional: Bool
    /// The value may be null.
    public let isNullable: Bool
    /// How it is written.
    public let policy: ColumnPolicy

    /// A column that a mapping fills.
    public init(
        name: String, type: ColumnType, isArray: Bool = false, cast: String? = nil, isOptional: Bool = false,
        isNullable: Bool = false, policy: ColumnPolicy = ColumnPolicy()
    ) {
        self.name = name
        self.type = type
        self.isArray = isArray
        self.cast = cast
        self.isOptional = isOptional
        self.isNullable = isNullable
        self.policy = policy
    }

    /// The type that its values are sent as. `unnest` takes arrays apart down to their elements, so an array travels as its text.
    public var wireType: ColumnType { isArray || type == .interval ? .text : type }

    /// What SQL makes of a value that was sent; `nil`: nothing.
    public var sqlCast: String? { cast ?? (isArray || type == .interval ? typeName : nil) }

    /// The type as a mapping file names it.
    public var typeName: String { isArray ? type.arrayName : type.rawValue }
}

/// The value of an `on_update` column, and of one that marks a deleted row.
public enum OnUpdateValue: String, Sendable, CaseIterable {
    /// `CURRENT_DATE`
    case currentDate = "current_date"
    /// `CURRENT_TIMESTAMP`
    case now
}

/// The mapping key `version`: the column by which the newer of two events is known.
public struct RowVersion: Sendable, Equatable {
    /// Position in ``TableShape/columns``. Its values are integers, dates or timestamps.
    public let column: Int
    /// `equal: first`: of two events of one version the one that was applied first stays.
    public let keepsFirst: Bool

    /// The column of a version.
    public init(column: Int, keepsFirst: Bool = false) {
        self.column = column
        self.keepsFirst = keepsFirst
    }

    /// The types that a version may have.
    public static let types: [ColumnType] = [.int2, .int4, .int8, .date, .timestamp, .timestamptz]
}

/// How events are written to the table.
public enum WriteMode: String, Sendable, CaseIterable {
    /// Events create, change and delete rows by key.
    case upsert
    /// Every event is a new row.
    case append
    /// Events insert rows that are absent, and never change or delete one that is present.
    case insertOnly = "insert_only"
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
    /// `delete: {set: …}`: a Delete sets these columns instead of removing the row, and while the first of them is not null the row counts
    /// as absent. Empty: a Delete removes the row.
    public let deletion: [(column: String, value: OnUpdateValue)]
    /// `skip_unchanged`: an update that would leave the mapping's columns as they are is not written.
    public let skipsUnchanged: Bool
    /// `version`: an event takes effect only if it is newer than what its key had before. Create, Update and Upsert are all Upserts then,
    /// and every Delete has a value in the version's column besides its key.
    public let version: RowVersion?

    /// The table of a mapping.
    public init(
        schema: String? = nil, name: String, columns: [ColumnShape], key: [Int], mode: WriteMode = .upsert,
        onUpdate: [(column: String, value: OnUpdateValue)] = [], write: WriteChoice = WriteChoice(),
        deletion: [(column: String, value: OnUpdateValue)] = [], skipsUnchanged: Bool = false,
        version: RowVersion? = nil
    ) {
        self.schema = schema
        self.name = name
        self.columns = columns
        self.key = key
        self.mode = mode
        self.onUpdate = onUpdate
        self.write = write
        self.deletion = deletion
        self.skipsUnchanged = skipsUnchanged
        self.version = version
    }

    /// An update is more than setting the columns to the event's values: see ``ColumnPolicy``, ``deletion`` and ``skipsUnchanged``.
    public var hasPolicies: Bool {
        !deletion.isEmpty || skipsUnchanged || columns.contains { $0.policy != ColumnPolicy() }
    }

    /// An event with a newer version need not replace all of what an older one says.
    public var hasPartialVersions: Bool { version != nil && columns.contains(where: \.isOptional) }

    /// Field by field.
    public static func == (a: TableShape, b: TableShape) -> Bool {
        a.schema == b.schema && a.name == b.name && a.columns == b.columns && a.key == b.key && a.mode == b.mode
            && a.write == b.write && a.onUpdate.elementsEqual(b.onUpdate) { $0 == $1 }
            && a.deletion.elementsEqual(b.deletion) { $0 == $1 } && a.skipsUnchanged == b.skipsUnchanged
            && a.version == b.version
    }
}
