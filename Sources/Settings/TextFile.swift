// Owns reading a small file whole: bounded, and checked to be UTF-8.

import Platform

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
        let bytes: [UInt8]
        do throws(SmallFile.Failure) {
            bytes = try SmallFile.read(path, atMost: limit)
        } catch {
            throw Problem(sentence: "\(error)")
        }
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
}
