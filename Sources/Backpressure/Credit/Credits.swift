// The unit of flow control: an amount of records and bytes.

/// An amount of records and bytes: the cost of a batch, the level of an account.
public struct Credits: Sendable, Equatable, CustomStringConvertible {
    /// Number of records.
    public var records: Int
    /// Number of bytes.
    public var bytes: Int

    /// An amount of records and bytes.
    @inlinable
    public init(records: Int, bytes: Int) {
        self.records = records
        self.bytes = bytes
    }

    /// No record and no byte.
    public static let zero = Credits(records: 0, bytes: 0)

    /// Unit by unit.
    @inlinable
    public static func + (a: Credits, b: Credits) -> Credits {
        Credits(records: a.records + b.records, bytes: a.bytes + b.bytes)
    }

    /// Unit by unit; may become negative, which is a debt.
    @inlinable
    public static func - (a: Credits, b: Credits) -> Credits {
        Credits(records: a.records - b.records, bytes: a.bytes - b.bytes)
    }

    /// Adds unit by unit.
    @inlinable
    public static func += (a: inout Credits, b: Credits) { a = a + b }

    /// Subtracts unit by unit.
    @inlinable
    public static func -= (a: inout Credits, b: Credits) { a = a - b }

    /// More than zero in both units.
    @inlinable public var isPositive: Bool { records > 0 && bytes > 0 }

    /// At least `other` in both units.
    @inlinable
    public func covers(_ other: Credits) -> Bool { records >= other.records && bytes >= other.bytes }

    /// The lesser of both, unit by unit.
    @inlinable
    public func least(_ other: Credits) -> Credits {
        Credits(records: Swift.min(records, other.records), bytes: Swift.min(bytes, other.bytes))
    }

    /// `records/bytes`, as logs show it.
    public var description: String { "\(records)/\(bytes)" }
}
