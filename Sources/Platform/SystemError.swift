// An error number of the C library, with its text.

import Glibc

/// Why a call of the operating system failed.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The value of `errno`.
    public let code: Int32

    /// - Parameter code: a value of `errno`.
    public init(_ code: Int32) { self.code = code }

    /// The text of `strerror_r`, which is safe on any thread.
    public var description: String {
        var text = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
