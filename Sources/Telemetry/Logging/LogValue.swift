// The values that metadata of a log line can have.

/// A value of a log line.
public struct LogValue: Sendable {
    let text: String
    /// JSON holds it as a string, not as a number or a flag.
    var isQuoted = false
}

/// A type whose values can be metadata of a log line: `["partition": 3, "topic": name]`.
public protocol LogValueConvertible: Sendable {
    /// The value in the log.
    var logValue: LogValue { get }
}

extension String: LogValueConvertible {
    /// The text.
    public var logValue: LogValue { LogValue(text: self, isQuoted: true) }
}

extension Bool: LogValueConvertible {
    /// The flag.
    public var logValue: LogValue { LogValue(text: self ? "true" : "false") }
}

extension Double: LogValueConvertible {
    /// The number; JSON has none that is not finite.
    public var logValue: LogValue { LogValue(text: description, isQuoted: !isFinite) }
}

extension LogValueConvertible where Self: BinaryInteger {
    /// The number; one that does not fit 64 bits with a sign is shown as text.
    public var logValue: LogValue { LogValue(text: String(self), isQuoted: Int64(exactly: self) == nil) }
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
        (Double(components.seconds) + Double(components.attoseconds) / 1e18).logValue
    }
}
