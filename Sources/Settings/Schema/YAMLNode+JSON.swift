// Types the values of a YAML document as editors do.

public import Platform

extension YAMLNode {
    /// The value with the types of YAML 1.2's core schema, which editors validate. Sluice's own readers decide by what a key needs.
    public var json: JSONValue {
        switch content {
        case .sequence(let nodes): .array(nodes.map(\.json))
        case .mapping(let entries): .object(entries.map { .init($0.key, $0.value.json) })
        case .scalar(let scalar): scalar.json
        }
    }
}

extension YAMLScalar {
    fileprivate var json: JSONValue {
        if isNull { return .null }
        guard isPlain else { return .string(text) }
        switch text {
        case "true", "True", "TRUE": return true
        case "false", "False", "FALSE": return false
        default: break
        }
        if let first = text.utf8.first, "+-.0123456789".utf8.contains(first) {
            if let number = Int(text) { return .integer(number) }
            if let number = Decimal.fraction(text) { return .number(number) }
        }
        return .string(text)
    }
}
