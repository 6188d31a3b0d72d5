// Owns migration files: names, order and checksums.

internal import Glibc
internal import Platform
internal import Records

/// One numbered step of a schema: a file of SQL, or a text of the program's own.
public struct Migration: Sendable, Equatable {
    /// The number its name begins with, from 1.
    public let version: Int32
    /// Its file name without the number and without `.sql`.
    public let name: String
    /// Its file name; of a text of the program's own, what messages call it.
    public let file: String
    /// Its statements.
    public let sql: String

    /// A step.
    public init(version: Int32, name: String, file: String, sql: String) {
        self.version = version
        self.name = name
        self.file = file
        self.sql = sql
    }

    /// FNV-1a over the file's bytes: `fnv1a64:` and 16 hexadecimal digits. It shows edits after the migration was applied.
    public var checksum: String {
        let digits = String(fnv1a(sql), radix: 16)
        return "fnv1a64:" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// Why migrations cannot be read or applied.
public struct MigrationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable {
        /// A directory or file cannot be read.
        case unreadable
        /// A file name is wrong, or a number is repeated or comes too late.
        case misnumbered
        /// A file differs from what was applied to the database.
        case edited
        /// The database has migrations that the files, or the program, do not.
        case newerDatabase
        /// Another process has held the migrations' lock for too long.
        case locked
        /// A migration failed; the database is as it was before it.
        case failed
    }

    /// What kind of failure it is.
    public let code: Code
    /// The file or version concerned and the remedy.
    public let description: String
    /// The server's error where there is one.
    public let sqlState: SQLState?
    /// Whether trying again later can help.
    public let isRetriable: Bool

    init(_ code: Code, _ description: String, sqlState: SQLState? = nil, isRetriable: Bool = false) {
        self.code = code
        self.description = description
        self.sqlState = sqlState
        self.isRetriable = isRetriable
    }
}

/// Reads migration files.
public enum Migrations {
    /// The migrations of a directory in order: its files `NNNN_name.sql`, each with a number of its own, from 1. Numbers may be left out.
    /// Other files are ignored.
    /// - Parameter retired: checksums of files that are ignored, too; see ``MigrationSet/files(_:retired:)``.
    public static func load(directory: String, retired: Set<String> = []) throws(MigrationError) -> [Migration] {
        var found: [Migration] = []
        for file in try fileNames(in: directory) where file.hasSuffix(".sql") && !file.hasPrefix(".") {
            let stem = file.dropLast(4)
            let digits = stem.prefix { $0.isASCII && $0.isNumber }
            guard digits.count == 4, let version = Int32(digits), version > 0, stem.dropFirst(4).first == "_", stem.count > 5
            else {
                throw MigrationError(
                    .misnumbered, "\(directory)/\(file): the name must be NNNN_name.sql, from 0001; rename the file")
            }
            let path = directory + "/" + file
            found.append(
                Migration(version: version, name: String(stem.dropFirst(5)), file: file, sql: try read(path)))
        }
        guard !found.isEmpty else {
            throw MigrationError(.unreadable, "\(directory) holds no NNNN_name.sql; name the directory of the migrations")
        }
        found.removeAll { retired.contains($0.checksum) }
        found.sort { ($0.version, $0.file) < ($1.version, $1.file) }
        for (earlier, later) in zip(found, found.dropFirst()) where earlier.version == later.version {
            throw MigrationError(
                .misnumbered,
                "\(directory): \(earlier.file) and \(later.file) have the same number; renumber the later one")
        }
        return found
    }

    private static func fileNames(in directory: String) throws(MigrationError) -> [String] {
        guard let stream = opendir(directory) else {
            throw MigrationError(.unreadable, "\(directory) cannot be opened: \(String(cString: strerror(errno)))")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }

    private static func read(_ path: String) throws(MigrationError) -> String {
        let content: [UInt8]
        do throws(SmallFile.Failure) {
            content = try SmallFile.read(path)
        } catch {
            throw MigrationError(.unreadable, "\(path) \(error)")
        }
        guard let text = String(validating: content, as: UTF8.self), !text.utf8.contains(0) else {
            throw MigrationError(.unreadable, "\(path) is not UTF-8 text; convert it")
        }
        return text
    }
}
