// Declares what a suggested mapping needs to know of a table.

/// A table's columns and primary key, as the catalog has them.
public struct TableOutline: Sendable, Equatable {
    /// One column.
    public struct Column: Sendable, Equatable {
        /// Its name, unquoted.
        public let name: String
        /// Its type as SQL writes it, with length or precision: `character varying(20)`. Of a domain the type below it.
        public let type: String
        /// It is NOT NULL.
        public let isNotNull: Bool
        /// An insert may leave it out.
        public let hasDefault: Bool
        /// It cannot be written: it is generated, or an identity that is always the server's.
        public let isGenerated: Bool

        /// A column as the catalog has it.
        public init(name: String, type: String, isNotNull: Bool = false, hasDefault: Bool = false, isGenerated: Bool = false) {
            self.name = name
            self.type = type
            self.isNotNull = isNotNull
            self.hasDefault = hasDefault
            self.isGenerated = isGenerated
        }
    }

    /// In the table's order.
    public let columns: [Column]
    /// The names of the primary key's columns, in its order; empty: there is none.
    public let key: [String]

    /// A table as the catalog has it.
    public init(columns: [Column], key: [String]) {
        self.columns = columns
        self.key = key
    }
}
