// The one error of this room that is not an outcome: the table and the mapping do not fit, or the caller asked for the
// impossible.

/// Why a table cannot be written, or a lane not be used as asked.
public struct ApplyError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of fault it is.
    public enum Code: String, Sendable {
        /// Mapping, table or settings have to be changed.
        case configuration
        /// A caller broke this room's contract.
        case misuse
    }

    /// What kind of fault it is.
    public let code: Code
    /// The thing and the remedy, in one sentence.
    public let description: String

    /// Trying again without a change never helps.
    public var isRetriable: Bool { false }

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
