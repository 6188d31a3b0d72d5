// Owns the tree of a parsed YAML document: values with their places.

/// A value of a YAML document, with the place it was written at.
public struct YAMLNode: Sendable {
    /// What the value is.
    public enum Content: Sendable {
        /// One text; its type is decided by its reader.
        case scalar(YAMLScalar)
        /// Values in order.
        case sequence([YAMLNode])
        /// Keys and values in the order of the document; no key occurs twice.
        case mapping([YAMLEntry])
    }

    /// What the value is.
    public let content: Content
    /// The name of the file, as messages show it.
    public let file: String
    /// The line, from 1.
    public let line: Int

    /// The scalar, where it is one.
    public var scalar: YAMLScalar? { if case .scalar(let scalar) = content { scalar } else { nil } }

    /// The values, where it is a sequence.
    public var sequence: [YAMLNode]? { if case .sequence(let nodes) = content { nodes } else { nil } }

    /// The entries, where it is a mapping.
    public var mapping: [YAMLEntry]? { if case .mapping(let entries) = content { entries } else { nil } }

    /// An empty value, `~` or `null`.
    public var isNull: Bool { scalar?.isNull ?? false }

    /// The value of a key of a mapping; `nil` where it is no mapping or lacks the key.
    public subscript(key: String) -> YAMLNode? { mapping?.first { $0.key == key }?.value }

    /// Its place.
    public var origin: Origin { .file(file, line: line) }

    /// The kind as messages name it: "a list", "a mapping", "nothing" or "a value".
    public var kindName: String {
        switch content {
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .scalar(let scalar): scalar.isNull ? "nothing" : "a value"
        }
    }
}

/// A text in a YAML document. It has no type: `012` is three characters until it is read as a number.
public struct YAMLScalar: Sendable, Equatable {
    /// The text, with escapes and line folding resolved.
    public let text: String
    /// Written without quotes, block indicator or tag: YAML would guess a type for it.
    var isPlain = true
    /// The tag as YAML resolves it (`tag:yaml.org,2002:str` for `!!str`), where one was written.
    var tag: String?

    /// YAML's null: empty without quotes, `~` or `null`.
    public var isNull: Bool { (isPlain && ["", "~", "null", "Null", "NULL"].contains(text)) || tag == "tag:yaml.org,2002:null" }
}

/// A key of a mapping with its value.
public struct YAMLEntry: Sendable {
    /// The key's text.
    public let key: String
    /// The key's line, from 1.
    public let line: Int
    /// The value.
    public let value: YAMLNode
}
