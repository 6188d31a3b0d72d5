// Owns the faults of mapping files: all at once, each with its file and line.

/// One fault of a mapping file.
public struct MappingFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file's name.
    public let file: String
    /// Line, from 1.
    public let line: Int
    /// What is wrong, and what is expected instead.
    public let message: String

    /// `file:line: message`
    public var description: String { "\(file):\(line): \(message)" }
}

/// All faults of the mapping files that were compiled together, in the order of their files and lines.
public struct MappingFaults: Error, Sendable, Equatable, CustomStringConvertible {
    /// The faults; at least one.
    public let faults: [MappingFault]

    /// One fault per line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}
