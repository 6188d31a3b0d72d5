// Owns the JSON Schemas of YAML files, by which editors complete and check them.

public import Platform

/// A JSON Schema (draft 7, which YAML's language server reads) of a value in a YAML file.
///
/// What it refuses, the reader of the file refuses. The other way round there is more that the reader checks: rules between keys, forms of
/// single texts, the server's own names.
public struct JSONSchema: Sendable {
    private let keywords: [JSONValue.Member]

    /// The schema as JSON.
    public var json: JSONValue { .object(keywords) }

    /// A schema with these keywords, in this order.
    public init(_ keywords: KeyValuePairs<String, JSONValue>) { self.init(keywords.map { JSONValue.Member($0, $1) }) }

    private init(_ keywords: [JSONValue.Member]) { self.keywords = keywords }

    /// A text. Numbers, `true` and `false` need no quotes.
    public static let text = JSONSchema(["type": ["string", "number", "boolean"]])

    /// `true` or `false`, in quotes too.
    public static let flag = JSONSchema(["type": ["boolean", "string"], "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"])

    /// A number; a text is one as well, where it has the form.
    /// - Parameters:
    ///   - type: `integer` or `number`: the type of what is written without a unit.
    ///   - pattern: of a text, without anchors.
    ///   - least: of what is written without a unit; `nil`: there is no least.
    ///   - most: likewise.
    public static func number(
        _ type: String, pattern: String, least: JSONValue? = nil, most: JSONValue? = nil
    ) -> JSONSchema {
        var keywords: [JSONValue.Member] = [
            .init("type", [.string(type), "string"]), .init("pattern", .string("^(\(pattern))$")),
        ]
        for (name, bound) in [("minimum", least), ("maximum", most)] {
            switch bound {
            case .number(let number) where number == number.rounded() && abs(number) < 1e15:
                keywords.append(.init(name, .integer(Int(number))))
            case let bound?: keywords.append(.init(name, bound))
            case nil: break
            }
        }
        return JSONSchema(keywords)
    }

    /// One of these words.
    public static func choice(_ words: [String]) -> JSONSchema { JSONSchema(["enum": .array(words.map { .string($0) })]) }

    /// Values in order; nothing is an empty list.
    public static func list(of element: JSONSchema, atLeast least: Int = 0) -> JSONSchema {
        list(["array", "null"], of: element, atLeast: least)
    }

    /// Values in order, at least one, or one value without brackets. `element` has a `type`.
    public static func oneOrMore(_ element: JSONSchema) -> JSONSchema {
        let types = element.keywords.first { $0.name == "type" }?.value
        guard case .array(let names) = types else { preconditionFailure("the schema of an element has a list of types") }
        return list(["array"] + names, of: element, atLeast: 1)
    }

    private static func list(_ types: [JSONValue], of element: JSONSchema, atLeast least: Int) -> JSONSchema {
        var keywords: [JSONValue.Member] = [.init("type", .array(types)), .init("items", element.json)]
        if least > 0 { keywords.append(.init("minItems", .integer(least))) }
        return JSONSchema(keywords)
    }

    /// Values under free names.
    /// - Parameter takesNothing: nothing is the same as `{}`.
    public static func map(of value: JSONSchema, takesNothing: Bool = true) -> JSONSchema {
        JSONSchema(["type": takesNothing ? ["object", "null"] : "object", "additionalProperties": value.json])
    }

    /// Values under these names and no others.
    /// - Parameter takesNothing: nothing is the same as `{}`.
    public static func object(
        _ properties: [(name: String, schema: JSONSchema, isRequired: Bool)], takesNothing: Bool = false
    ) -> JSONSchema {
        var keywords: [JSONValue.Member] = [
            .init("type", takesNothing ? ["object", "null"] : "object"), .init("additionalProperties", false),
        ]
        let required = properties.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { keywords.append(.init("required", .array(required))) }
        keywords.append(.init("properties", .object(properties.map { .init($0.name, $0.schema.json) })))
        return JSONSchema(keywords)
    }

    /// One of several.
    public static func any(_ schemas: [JSONSchema]) -> JSONSchema { JSONSchema(["anyOf": .array(schemas.map(\.json))]) }

    /// The same with conditions that all hold.
    public func and(_ conditions: [JSONSchema]) -> JSONSchema {
        JSONSchema(keywords + [.init("allOf", .array(conditions.map(\.json)))])
    }

    /// Exactly one of these keys is set.
    public static func one(of names: [String]) -> JSONSchema {
        JSONSchema(["oneOf": .array(names.map { ["required": [.string($0)]] })])
    }

    /// The same with a text for people, and with a default.
    public func described(_ help: String, standard: JSONValue? = nil) -> JSONSchema {
        var notes: [JSONValue.Member] = help.isEmpty ? [] : [.init("description", .string(help))]
        if let standard { notes.append(.init("default", standard)) }
        return JSONSchema(notes + keywords)
    }

    /// The schema of a whole file, as a file of its own.
    public func document(title: String) -> String {
        JSONValue.object(
            [.init("$schema", "http://json-schema.org/draft-07/schema#"), .init("title", .string(title))] + keywords
        ).indented
    }
}
