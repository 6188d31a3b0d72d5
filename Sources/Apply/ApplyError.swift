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

    /// Retrying without a change never helps.
    public var isRetriable: Bool { false }

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
