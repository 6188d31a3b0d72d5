// Holds why a partition is out of service.

/// Why a partition is stopped, and whether it may start again by itself.
public struct StopReason: Sendable, Equatable, CustomStringConvertible {
    /// Kinds of reasons; the raw value is a label of `sluice_partition_stopped`.
    public enum Kind: String, Sendable, CaseIterable {
        /// PostgreSQL refuses what depends on no row: a table, column or privilege is missing, or does not fit the mapping.
        case schema
        /// The log does not hold the stored offset.
        case offset
        /// Kafka does not let the partition be read.
        case kafka
        /// Most of the records are bad. Only an operator starts the partition again.
        case poison
        /// The next record says that the source table was truncated, which is not applied. Only an operator moves the partition past it.
        case truncate
    }

    /// The kind.
    public let kind: Kind
    /// One sentence with the reason and the remedy.
    public let description: String

    /// A reason.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// Whether what was wrong may have been mended meanwhile, so that claiming the partition again may help.
    public var isRechecked: Bool { kind != .poison && kind != .truncate }

    /// Whether it may pass by itself within seconds: an access that was denied by mistake, a broker's unknown error, a damaged response.
    public var isPassing: Bool { kind == .kafka }
}
