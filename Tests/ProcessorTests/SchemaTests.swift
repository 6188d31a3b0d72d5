// Proves that the JSON Schemas say of the configuration and of mappings what the program says.

import Decode
import Foundation
import Platform
import Testing

@testable import Settings
@testable import sluice

private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

/// A kind of file that has a schema.
enum Described: String, CaseIterable {
    case config, mapping

    var schema: JSONValue { self == .config ? Self.configSchema : Self.mappingSchema }

    private static let configSchema = SluiceSettings.schema.jsonSchema.json
    private static let mappingSchema = Mapping.jsonSchema.json

    /// What the program's reader of such a file says against a document.
    func faults(_ node: YAMLNode) -> [String] {
        switch self {
        case .config: return Configuration.survey(node, [:]).faults.map(\.description)
        case .mapping:
            do throws(MappingFaults) {
                _ = try Mapping.compile([node])
                return []
            } catch {
                return error.faults.map(\.description)
            }
        }
    }

    /// The files of the repository that are of this kind.
    var files: [String] {
        get throws {
            let examples = try FileManager.default.contentsOfDirectory(atPath: "\(root)/examples").map { "examples/\($0)" }
            return (["config"] + examples).sorted().flatMap { folder in
                let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
                return names.filter { $0.hasSuffix(".yaml") && ($0 == "sluice.yaml") == (self == .config) }
                    .map { "\(folder)/\($0)" }
            }
        }
    }

    /// Documents of this kind that, together, set every key.
    var documents: [YAMLNode] {
        get throws {
            let more =
                switch self {
                case .config: policies
                case .mapping: everyKey
                }
            return try files.map { try YAML.load(path: "\(root)/\($0)") } + [YAML.parse(text: more, file: "more.yaml")]
        }
    }
}

private let policies = """
    limits:
      policies:
        - {name: tokens, key: client, unit: requests, bucket: {rate: 1.5, burst: 10}, shadow: true}
        - {name: bytes, key: route, unit: bytes, window: {limit: 1000, seconds: 60}}
      consume: {topics: {orders: {events_per_second: 10, bytes_per_second: 64KiB}}}
    """

/// The keys of a mapping that no example sets.
private let everyKey = """
    topics: t
    envelope: cloudevents
    table: public.t
    mode: upsert
    write: rounds
    triggers: row_local
    key: id
    kafka_key: json_object
    kafka_key_mismatch: fault
    action: {event_path: /type, create: [c], update: u, upsert: [s], delete: d}
    columns:
      id: {path: /id, type: int8}
      name: {path: /name, type: "text[]", optional: true, nullable: true, on: update}
      about: {path: /about, cast: citext, nul: strip, nullable: true, if_null: keep}
      price: {path: /price, type: numeric, format: base64_decimal, scale: 2}
      extra: {path: /extra, type: jsonb, merge: jsonb_concat}
      email: {path: /email, type: text, hash: hmac-sha256, hash_key: "\(root)/LICENSE"}
      at: {event_path: /time, type: timestamptz, format: iso}
      offset: {metadata: offset, type: int8}
      source: {constant: 7, type: int4}
    on_update: {changed: now}
    delete: {set: {deleted: now}}
    skip_unchanged: true
    where:
      - {path: /kind, equals: 7}
      - {event_path: /source, in: [a, true]}
      - {header: h, exists: true}
    """

@Suite struct SchemaTests {
    @Test(arguments: Described.allCases) func theCommittedSchemaIsTheOneThatIsPrinted(_ kind: Described) throws {
        guard case .print(let printed) = try Command.parse(["schema", kind.rawValue]) else {
            return #expect(Bool(false), "no text")
        }
        let written = try? String(contentsOfFile: "\(root)/docs/schema/\(kind).json", encoding: .utf8)
        #expect(written == printed, "docs/schema/\(kind).json is not what `sluice schema \(kind)` prints; write it anew")
    }

    @Test(arguments: Described.allCases) func everyFileIsValidAndNamesItsSchema(_ kind: Described) throws {
        #expect(try kind.files.count >= 4)
        for file in try kind.files {
            let node = try YAML.load(path: "\(root)/\(file)")
            #expect(try SchemaValidator.faults(node.json, kind.schema) == [], "\(file)")
            let first = try String(contentsOfFile: "\(root)/\(file)", encoding: .utf8).prefix { $0 != "\n" }
            let prefix = "# yaml-language-server: $schema="
            #expect(first.hasPrefix(prefix), "\(file): \(first)")
            let path = URL(fileURLWithPath: "\(root)/\(file)").deletingLastPathComponent()
                .appendingPathComponent(String(first.dropFirst(prefix.count))).standardizedFileURL.path
            #expect(path == "\(root)/docs/schema/\(kind).json", "\(file)")
        }
    }

    @Test(arguments: Described.allCases) func theDocumentsSetEveryKey(_ kind: Described) throws {
        let documents = try kind.documents
        for node in documents {
            #expect(kind.faults(node) == [], "\(node.file)")
            #expect(try SchemaValidator.faults(node.json, kind.schema) == [], "\(node.file)")
        }
        let known = Set(keys(of: kind.schema))
        let set = Set(documents.flatMap { names(in: $0) })
        #expect(known.subtracting(set) == [])
        #expect(known.count > 30)
    }

    @Test(arguments: [
        (Described.config, "http: {port: 70000}"), (.config, "http: {port: http}"), (.config, "htp: {}"), (.config, "http: []"),
        (.config, "kafka: {linger: 5 weeks}"), (.config, "kafka: {group_protocol: modern}"),
        (.config, "mappings: mapping.yaml"), (.config, "kafka: {session_timeout: 400}"), (.config, "kafka: {wait_for_topics: 1}"),
        (.config, "pipeline: {memory_budget_bytes: 1MB}"), (.config, "limits: {policies: [{name: a, key: client}]}"),
        (.config, "kafka: {group_id: }"), (.config, "kafka: {properties: {a: {b: c}}}"),
        (.mapping, "table: t"),
        (.mapping, "topics: []\ntable: t\nkey: [id]\nenvelope: upsert\ncolumns: {id: {path: /id, type: int8}}"),
        (.mapping, "topics: t\ntable: t\nenvelope: upsert\ncolumns: {id: {path: /id, type: int8}}"),
        (.mapping, "topics: t\ntable: t\nkey: id\ncolumns: {id: {path: /id, type: int8}}"),
        (.mapping, "topics: t\ntable: t\nkey: id\nenvelope: upsert\ncolumns: {id: {path: /id, type: bigint}}"),
        (.mapping, "topics: t\ntable: t\nkey: id\nenvelope: upsert\ncolumns: {id: {path: /id, constant: 7, type: int8}}"),
        (.mapping, "topics: t\ntable: t\nkey: id\nenvelope: upsert\ncolumns: {id: {path: /id}}"),
        (.mapping, "topics: t\ntable: t\nkey: id\nenvelope: upsert\ncolumns: {id: {path: /id, type: int8, optional: maybe}}"),
    ])
    func whatTheSchemaRefusesTheProgramRefuses(kind: Described, text: String) throws {
        let node = try YAML.parse(text: text, file: "faulty.yaml")
        #expect(try SchemaValidator.faults(node.json, kind.schema) != [])
        #expect(kind.faults(node) != [])
    }

    @Test(arguments: Described.allCases) func theyAgreeAboutChangedDocuments(_ kind: Described) throws {
        var counts = ["changes": 0, "refused": 0]
        for document in try kind.documents {
            for change in changes(of: document) {
                let found = try SchemaValidator.faults(change.node.json, kind.schema)
                let said = kind.faults(change.node)
                counts["changes", default: 0] += 1
                counts["refused", default: 0] += found.isEmpty ? 0 : 1
                if !found.isEmpty {
                    #expect(!said.isEmpty, "\(document.file): \(change.what): only the schema refuses it: \(found)")
                } else if said.contains(where: Self.isOfForm) {
                    Issue.record("\(document.file): \(change.what): only the program refuses it: \(said)")
                }
            }
        }
        #expect(counts["refused", default: 0] > 100, "\(counts)")
    }

    /// Whether a fault is one that a schema can find: an unknown key, a value of another kind, a word that is none of a list.
    private static func isOfForm(_ fault: String) -> Bool {
        let ofOtherRules = ["is not one of the columns", ": metadata "]
        return
            [
                "unknown key", "is not a known key", "is not one of ", "must be a single value", "must be true or false",
                "is a mapping",
            ]
            .contains(where: fault.contains) && !ofOtherRules.contains(where: fault.contains)
    }

    /// The names of all properties in a schema.
    private func keys(of schema: JSONValue) -> [String] {
        let below = (schema.members ?? []).flatMap { member in
            member.name == "properties" ? (member.value.members ?? []).flatMap { keys(of: $0.value) } : keys(of: member.value)
        }
        let elements = (schema.elements ?? []).flatMap { keys(of: $0) }
        return (schema["properties"]?.members ?? []).map(\.name) + below + elements
    }

    private func names(in node: YAMLNode) -> [String] {
        (node.mapping ?? []).flatMap { [$0.key] + names(in: $0.value) } + (node.sequence ?? []).flatMap { names(in: $0) }
    }

    /// The document with one change at a time: each key renamed, each value replaced by a word, a list of lists and a mapping.
    private func changes(of node: YAMLNode, at path: String = "") -> [(what: String, node: YAMLNode)] {
        func made(_ content: YAMLNode.Content) -> YAMLNode { YAMLNode(content: content, file: node.file, line: node.line) }
        let word = made(.scalar(YAMLScalar(text: "gibberish")))
        var changes: [(what: String, node: YAMLNode)] = []
        func add(_ what: String, _ content: YAMLNode.Content) { changes.append(("\(path) \(what)", made(content))) }
        if !path.isEmpty {
            add("is a word", word.content)
            add("is a list of lists", .sequence([made(.sequence([word]))]))
            add("is a mapping", .mapping([YAMLEntry(key: "gibberish", line: node.line, value: word)]))
        }
        switch node.content {
        case .scalar: break
        case .sequence(let elements):
            for (index, element) in elements.enumerated() {
                for change in self.changes(of: element, at: "\(path)[\(index)]") {
                    var copy = elements
                    copy[index] = change.node
                    changes.append((change.what, made(.sequence(copy))))
                }
            }
        case .mapping(let entries):
            for (index, entry) in entries.enumerated() {
                var copy = entries
                copy[index] = YAMLEntry(key: entry.key + "_x", line: entry.line, value: entry.value)
                add("\(entry.key) is renamed", .mapping(copy))
                for change in self.changes(of: entry.value, at: "\(path).\(entry.key)") {
                    copy[index] = YAMLEntry(key: entry.key, line: entry.line, value: change.node)
                    changes.append((change.what, made(.mapping(copy))))
                }
            }
        }
        return changes
    }
}
