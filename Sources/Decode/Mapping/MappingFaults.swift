// What is wrong with mapping files: every fault at once, each with its place.

/// One fault of a mapping file.
public struct MappingFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file, as the node named it.
    public let file: String
    /// Line, from 1.
    public let line: Int
    /// What is wrong and what would be right.
    public let message: String

    /// One fault of a mapping file.
    public init(file: String, line: Int, message: String) {
        self.file = file
        self.line = line
        self.message = message
    }

    /// `file:line: message`
    public var description: String { "\(file):\(line): \(message)" }
}

/// All faults of the mapping files that were compiled together, in the order of their lines.
public struct MappingFaults: Error, Sendable, Equatable, CustomStringConvertible {
    /// The faults; at least one.
    public let faults: [MappingFault]

    /// One fault a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}
