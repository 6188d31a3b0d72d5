// Makes the JSON Schema of a program's configuration from the declarations of its keys.

import Platform

extension SettingsSchema {
    /// The schema of the file: every declared key, and no other.
    public var jsonSchema: JSONSchema { section.schema(isItem: false, isWholeFile: true, defaults) }
}

extension Section {
    /// - Parameter isItem: the environment cannot set its keys, so required ones must be in the file.
    func schema(isItem: Bool, isWholeFile: Bool = false, _ defaults: Root) -> JSONSchema {
        .object(
            keys.map { key in
                let (schema, isRequired) = key.schema(isItem, defaults)
                return (key.name, schema, isItem && isRequired)
            }, takesNothing: !isWholeFile
        ).described(help)
    }
}

extension JSONValue {
    /// A value that ``ValueKind`` shows as YAML.
    init(shown text: String) {
        do {
            self = try YAML.parse(text: text, file: "").json
        } catch {
            preconditionFailure("a kind shows a value as \(text), which is no YAML: \(error)")
        }
    }
}
