// Owns reading a small file whole: bounded, and checked to be UTF-8.

import Glibc

/// Small text files.
enum TextFile {
    /// Why a file could not be read.
    struct Problem: Error {
        let sentence: String
        /// From 1, where the trouble is inside the text.
        var line: Int?
    }

    /// The text of the file at `path`, without a byte order mark.
    static func read(_ path: String, atMost limit: Int) throws(Problem) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Problem(sentence: "cannot be opened: \(reason())") }
        defer { close(file) }
        var bytes: [UInt8] = []
        while bytes.count <= limit {
            var count = 0
            var failure: String?
            let piece = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, filled in
                count = Glibc.read(file, buffer.baseAddress, buffer.count)
                if count < 0 && errno != EINTR { failure = reason() }
                filled = max(count, 0)
            }
            if let failure { throw Problem(sentence: "cannot be read: \(failure)") }
            if count == 0 { break }
            bytes += piece
        }
        guard bytes.count <= limit else { throw Problem(sentence: "is larger than \(limit) bytes") }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Problem(sentence: "is not UTF-8; save it as UTF-8", line: firstInvalidLine(bytes))
        }
        return text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text
    }

    /// A newline never is part of a longer UTF-8 sequence, so lines can be judged one by one.
    private static func firstInvalidLine(_ bytes: [UInt8]) -> Int? {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }.map { $0 + 1 }
    }

    private static func reason() -> String {
        let code = errno
        var text = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
