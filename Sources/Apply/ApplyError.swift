// The error of this module that is not an outcome of a transaction.

/// Table and mapping do not fit, or a caller broke the contract of this module.
public struct ApplyError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of fault it is.
    public enum Code: String, Sendable {
        /// Mapping, table or settings have to be changed.
        case configuration
        /// A caller broke the contract of this module.
        case misuse
    }

    /// What kind of fault it is.
    public let code: Code
    /// Names the table or setting and the remedy.
    public let description: String
    /// Where a mapping and its table do not fit: what ``description`` says, each fault by itself. Otherwise empty.
    public let faults: [TableFault]

    /// Retrying without a change never helps.
    public var isRetriable: Bool { false }

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
        faults = []
    }

    /// - Parameter table: as SQL names it.
    init(table: String, _ faults: [TableFault]) {
        code = .configuration
        description = "table \(table): " + faults.map(\.sentence).joined(separator: "; ")
        self.faults = faults
    }
}

/// One thing for which a mapping's events cannot be written to its table.
public struct TableFault: Sendable, Equatable {
    /// The keys of the mapping file, from the outermost, that say something else than the table.
    public let path: [String]
    /// What is wrong, and the remedy.
    public let sentence: String

    /// - Parameter path: see ``path``.
    public init(_ path: [String], _ sentence: String) {
        self.path = path
        self.sentence = sentence
    }
}
