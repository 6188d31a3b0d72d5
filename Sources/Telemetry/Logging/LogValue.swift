// The values that metadata of a log line can have.

/// A value of a log line, with the types of JSON.
public enum LogValue: Sendable, Equatable {
    /// Text; quoted and escaped where necessary.
    case string(String)
    /// A whole number.
    case integer(Int64)
    /// Any other number.
    case number(Double)
    /// true or false.
    case flag(Bool)
}

/// A type whose values can be metadata of a log line: `["partition": 3, "topic": name]`.
public protocol LogValueConvertible: Sendable {
    /// The value in the log.
    var logValue: LogValue { get }
}

extension LogValue: LogValueConvertible {
    /// Itself.
    public var logValue: LogValue { self }
}

extension String: LogValueConvertible {
    /// The text.
    public var logValue: LogValue { .string(self) }
}

extension Bool: LogValueConvertible {
    /// The flag.
    public var logValue: LogValue { .flag(self) }
}

extension Double: LogValueConvertible {
    /// The number.
    public var logValue: LogValue { .number(self) }
}

extension LogValueConvertible where Self: BinaryInteger {
    /// The number; one that does not fit 64 bits with a sign is shown as text.
    public var logValue: LogValue { Int64(exactly: self).map(LogValue.integer) ?? .string(String(self)) }
}

extension Int: LogValueConvertible {}
extension Int16: LogValueConvertible {}
extension Int32: LogValueConvertible {}
extension Int64: LogValueConvertible {}
extension UInt16: LogValueConvertible {}
extension UInt32: LogValueConvertible {}
extension UInt64: LogValueConvertible {}

extension Duration: LogValueConvertible {
    /// Seconds.
    public var logValue: LogValue {
        .number(Double(components.seconds) + Double(components.attoseconds) / 1e18)
    }
}
