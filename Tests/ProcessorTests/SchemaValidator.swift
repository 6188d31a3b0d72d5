// Validates JSON against a JSON Schema: exactly the keywords that this project's schemas use.

import Foundation
import Platform

/// A schema with a keyword that ``SchemaValidator`` does not know.
struct UnknownKeyword: Error, CustomStringConvertible {
    let description: String
}

/// JSON Schema, draft 7, as far as it is used here.
enum SchemaValidator {
    /// What is wrong with a value, as `path: sentence`; empty: it is valid.
    static func faults(_ value: JSONValue, _ schema: JSONValue, at path: String = "") throws -> [String] {
        guard case .object(let keywords) = schema else {
            guard case .bool(let isAllowed) = schema else { throw UnknownKeyword(description: "\(schema) is no schema") }
            return isAllowed ? [] : ["\(path): is not allowed"]
        }
        var faults: [String] = []
        for keyword in keywords {
            switch keyword.name {
            case "$schema", "title", "description", "default": break
            case "type":
                let types = keyword.value.elements ?? [keyword.value]
                if !types.contains(where: { value.isOf(type: $0) }) { faults.append("\(path): is not of type \(keyword.value)") }
            case "enum":
                if keyword.value.elements?.contains(value) != true { faults.append("\(path): is none of \(keyword.value)") }
            case "pattern":
                guard case .string(let pattern) = keyword.value else { throw UnknownKeyword(description: "pattern") }
                if case .string(let text) = value, text.range(of: pattern, options: .regularExpression) == nil {
                    faults.append("\(path): does not match \(pattern)")
                }
            case "minimum":
                if let number = value.number, let least = keyword.value.number, number < least {
                    faults.append("\(path): is below \(least)")
                }
            case "maximum":
                if let number = value.number, let most = keyword.value.number, number > most {
                    faults.append("\(path): is above \(most)")
                }
            case "items":
                for (index, element) in (value.elements ?? []).enumerated() {
                    faults += try self.faults(element, keyword.value, at: "\(path)[\(index)]")
                }
            case "minItems":
                if let elements = value.elements, let least = keyword.value.number, Double(elements.count) < least {
                    faults.append("\(path): has fewer than \(least) elements")
                }
            case "required":
                guard let members = value.members else { break }
                for case .string(let name) in keyword.value.elements ?? [] where !members.contains(where: { $0.name == name }) {
                    faults.append("\(path): lacks \(name)")
                }
            case "properties":
                for member in value.members ?? [] {
                    guard let schema = keyword.value[member.name] else { continue }
                    faults += try self.faults(member.value, schema, at: "\(path).\(member.name)")
                }
            case "additionalProperties":
                for member in value.members ?? [] where schema["properties"]?[member.name] == nil {
                    faults += try self.faults(member.value, keyword.value, at: "\(path).\(member.name)")
                }
            case "allOf", "anyOf", "oneOf":
                let results = try (keyword.value.elements ?? []).map { try self.faults(value, $0, at: path) }
                let met = results.count { $0.isEmpty }
                let isMet = keyword.name == "allOf" ? met == results.count : keyword.name == "anyOf" ? met > 0 : met == 1
                if !isMet { faults += ["\(path): \(keyword.name) is not met"] + results.joined() }
            default: throw UnknownKeyword(description: "\(keyword.name) at \(path)")
            }
        }
        return faults
    }
}

extension JSONValue {
    /// The members, of an object.
    var members: [Member]? { if case .object(let members) = self { members } else { nil } }
    /// The elements, of an array.
    var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    /// The value of a member.
    subscript(name: String) -> JSONValue? { members?.first { $0.name == name }?.value }

    fileprivate var number: Double? {
        switch self {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    fileprivate func isOf(type: JSONValue) -> Bool {
        switch (type, self) {
        case ("string", .string), ("boolean", .bool), ("null", .null), ("array", .array), ("object", .object): true
        case ("number", .number), ("number", .integer), ("integer", .integer): true
        case ("integer", .number(let number)): number == number.rounded()
        default: false
        }
    }
}
