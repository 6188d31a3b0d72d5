// The shape a mapping file arrives in: a tree of scalars, sequences and mappings that knows its file and lines.

/// One node of a mapping file, whatever format it was written in.
public struct MappingNode: Sendable {
    /// What a node holds.
    public enum Content: Sendable {
        /// A value without parts, as written, without its quotes. `isPlain`: it had none, so that `null` may mean null.
        case scalar(String, isPlain: Bool)
        /// Nodes in order.
        case sequence([MappingNode])
        /// Named nodes, in the file's order.
        case mapping([Entry])
    }

    /// One named node of a mapping.
    public struct Entry: Sendable {
        /// The name.
        public let key: String
        /// Line of the name, from 1.
        public let line: Int
        /// What it names.
        public let value: MappingNode

        /// A named node.
        public init(key: String, line: Int, value: MappingNode) {
            self.key = key
            self.line = line
            self.value = value
        }
    }

    /// What the node holds.
    public let content: Content
    /// The file, as messages should name it.
    public let file: String
    /// Line of the node's first character, from 1.
    public let line: Int

    /// A node of a mapping file.
    public init(_ content: Content, file: String, line: Int) {
        self.content = content
        self.file = file
        self.line = line
    }
}
