// Reads a small file as a whole, and cuts the line breaks that end a text.

import Glibc

/// Reads files that fit into memory, also those of `/proc`, which have no size.
public enum SmallFile {
    /// Why a file could not be read.
    public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
        case cannotOpen(SystemError)
        case cannotRead(SystemError)
        /// It holds more bytes than the limit.
        case tooLarge(limit: Int)

        /// The predicate of a sentence whose subject is the file.
        public var description: String {
            switch self {
            case .cannotOpen(let error): "cannot be opened: \(error)"
            case .cannotRead(let error): "cannot be read: \(error)"
            case .tooLarge(let limit): "is larger than \(limit) bytes"
            }
        }
    }

    /// The bytes of the file at `path`. Blocks as long as the disk does.
    /// - Parameter limit: the largest size that is accepted, in bytes.
    public static func read(_ path: String, atMost limit: Int = .max) throws(Failure) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .cannotOpen(SystemError(errno)) }
        defer { close(file) }
        var content: [UInt8] = []
        while content.count <= limit {
            var count = 0
            var code: Int32 = 0
            let piece = [UInt8](unsafeUninitializedCapacity: 16384) { buffer, filled in
                count = Glibc.read(file, buffer.baseAddress, buffer.count)
                if count < 0 { code = errno }
                filled = max(count, 0)
            }
            if count == 0 { return content }
            if count < 0 && code != EINTR { throw .cannotRead(SystemError(code)) }
            content += piece
        }
        throw .tooLarge(limit: limit)
    }
}

extension String {
    /// The text without the line breaks at its end, which editors and `echo` write after a secret.
    public var withoutTrailingLineBreaks: String {
        lastIndex { !$0.isNewline }.map { String(self[...$0]) } ?? ""
    }
}
