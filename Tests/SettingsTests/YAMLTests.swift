// Checks the YAML tree: its values, its places, and everything that is refused.

import Foundation
import TestSupport
import Testing

@testable import Settings

@Suite struct YAMLTests {
    private func faults(_ text: String) -> [String] {
        do {
            _ = try YAML.parse(text: text, file: "f")
            return []
        } catch {
            return error.faults.map(\.description)
        }
    }

    @Test func valuesRememberWhereTheyWereWritten() throws {
        let root = try YAML.parse(
            text: """
                # a comment
                topics: [messages, "b"]
                columns:
                  id: {path: /id, type: int4}
                  text: |
                    two
                    lines
                'quoted': ~
                empty:
                tagged: !!str null
                """, file: "m.yaml")
        #expect(root.mapping?.map(\.key) == ["topics", "columns", "quoted", "empty", "tagged"])
        #expect(root.mapping?.map(\.line) == [2, 3, 8, 9, 10])
        #expect(root["topics"]?.sequence?.map(\.scalar) == [YAMLScalar(text: "messages"), YAMLScalar(text: "b", isPlain: false)])
        #expect(root["columns"]?["id"]?["type"]?.scalar?.text == "int4")
        #expect(root["columns"]?["id"]?["type"]?.line == 4)
        #expect(root["columns"]?["text"]?.scalar?.text == "two\nlines\n")
        #expect(root["quoted"]?.isNull == true && root["empty"]?.isNull == true && root["tagged"]?.isNull == false)
        #expect(root["tagged"]?.scalar?.tag == "tag:yaml.org,2002:str")
        #expect(root["absent"] == nil)
        #expect(root["topics"]?.origin.description == "m.yaml:2")
    }

    @Test func emptyTextsAreNothing() throws {
        for text in ["", "# only a comment\n", "---\n"] {
            let root = try YAML.parse(text: text, file: "f")
            #expect(root.isNull, "\(text)")
        }
    }

    @Test func anchorsAreResolvedWhereTheyWereWritten() throws {
        let root = try YAML.parse(text: "a: &x\n  b: 1\nc: *x\nd: [*x, *x]\n", file: "f")
        #expect(root["c"]?["b"]?.scalar?.text == "1")
        #expect(root["d"]?.sequence?.last?["b"]?.line == 2)
    }

    @Test(arguments: [
        (
            "a: 1\nb: 2\na: 3\nb: 4\n",
            [
                "f:3: the key \"a\" is a duplicate of line 1; keep one of them",
                "f:4: the key \"b\" is a duplicate of line 2; keep one of them",
            ]
        ),
        ("a: *x\n", ["f:1: the alias *x has no anchor &x before it"]),
        ("a: &x [*x]\n", ["f:1: the alias *x has no anchor &x before it"]),
        ("? [a]\n: b\n", ["f:1: a key must be one text, not a list or a mapping"]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", ["f:3: merge keys (<<) are not read; write the keys out"]),
        ("a: 1\n---\nb: 2\n", ["f:2: a second document begins; write one document a file"]),
        ("a: !secret x\n", ["f:1: the tag \"!secret\" is not known; remove it"]),
        (
            "a:\n\tb: 1\n",
            [
                "f:2: found character that cannot start any token (while scanning for the next token); YAML is indented with spaces, not tabs"
            ]
        ),
        ("a: \"b\n", ["f:2: found unexpected end of stream (while scanning a quoted scalar)"]),
        (
            "a: b: c\n",
            [
                "f:1: mapping values are not allowed in this context; a key needs a space after its colon, and a text with a colon and a "
                    + "space quotes"
            ]
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            ["f:3: did not find expected key (while parsing a block mapping); the keys of one mapping begin in the same column"]
        ),
        (
            "a: {type: text[]}\n",
            [
                "f:1: did not find expected ',' or '}' (while parsing a flow mapping); between braces a text with one of , [ ] { } needs "
                    + "quotes, and each brace its counterpart"
            ]
        ),
        (
            "a: \"^shop\\.\"\n",
            [
                "f:1: found unknown escape character (while parsing a quoted scalar); between double quotes a backslash is written twice, "
                    + "between single quotes once"
            ]
        ),
        ("a: 1\nb: \u{1}\n", ["f:2: control characters are not allowed"]),
        ("a: 1\nb: \u{0}\n", ["f:2: control characters are not allowed"]),
    ])
    func whatIsWrongHasAPlace(text: String, expected: [String]) {
        #expect(faults(text) == expected)
    }

    @Test func bombsAreRefused() {
        var billion = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            billion += "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ",") + "]\n"
        }
        #expect(faults(billion) == ["f:5: has more than 100000 values, aliases expanded"])
        #expect(faults(String(repeating: "[", count: 100_000)) == ["f:1: nests deeper than 64 levels"])
        #expect(faults(String(repeating: "a: x\n", count: 300_000)) == ["f: is larger than 1048576 bytes"])
        #expect(
            faults("[" + String(repeating: "x,", count: 120_000) + "]") == ["f:1: has more than 100000 values, aliases expanded"])
        let ladder = (1...99).map { "- &a\($0) [*a\($0 - 1)]\n" }.joined()
        #expect(faults("- &a0 [x]\n" + ladder) == ["f:64: nests deeper than 64 levels"])
        #expect(faults(String(repeating: "[", count: 64) + String(repeating: "]", count: 64)) == [])
    }

    @Test func filesAreLoadedOrExplained() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-yaml-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("a.yaml").path

        func load(_ bytes: [UInt8]) throws -> String {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do {
                return try YAML.load(path: path)["a"]?.scalar?.text ?? "nothing"
            } catch {
                return error.description
            }
        }
        #expect(try load([0xEF, 0xBB, 0xBF] + Array("a: é\r\n".utf8)) == "é")
        #expect(try load(Array("x: 1\ny: 2\na: ".utf8) + [0xC3, 0x28]) == "\(path):3: is not UTF-8; save it as UTF-8")
        for nothing in ["", "\n", "# only a comment\n", "---\n", "null"] {
            #expect(try load(Array(nothing.utf8)) == "\(path): holds nothing; write {} where that is meant", "\(nothing)")
        }
        #expect(try load(Array("{}".utf8)) == "nothing")
        #expect(try load(Array(repeating: 0x61, count: 2 << 20)) == "\(path): is larger than 1048576 bytes")
        #expect(throws: SettingsFaults([Fault(.file("\(path)x", line: nil), "cannot be opened: No such file or directory")])) {
            try YAML.load(path: path + "x")
        }
        #expect(throws: SettingsFaults([Fault(.file(directory.path, line: nil), "cannot be read: Is a directory")])) {
            try YAML.load(path: directory.path)
        }
    }

    @Test func noiseNeverCrashes() {
        let seed = UInt64.random(in: .min ... .max)
        print("YAML noise seed \(seed)")
        var random = SeededRandom(seed: seed)
        let start = """
            kafka: &k
              bootstrap_servers: "a:1,b:2"   # comment
              properties: {fetch.min.bytes: 1, 'sasl.password': !!str x}
            mappings: [a.yaml, *k]
            pipeline: {memory_budget_bytes: 64MiB, dwell: 5m}
            policies:
              - name: |
                  burst
                rate: 1.5
            postgres_uri: postgres://u:p@h/db
            """
        let pieces = [
            "\n", "  ", "- ", ": ", "&a ", "*a", "[", "]", "{", "}", "'", "\"", "|\n", ">\n", "!!", "? ", "---\n", "...\n", "\t",
            "%", "<<", "é", "\u{0}", "null", "#", "\u{85}", "\\x", "9e99",
        ]
        for round in 0..<3000 {
            var bytes = Array(start.utf8)
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let at = Int.random(in: 0...bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.insert(contentsOf: Array(pieces.randomElement(using: &random)!.utf8), at: at)
                case 1: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 0...8, using: &random)))
                case 2 where at < bytes.count: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
                default:
                    let end = min(bytes.count, at + 30)
                    bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &random))
                }
            }
            // What parses must also be read without a crash; every fault must be one line.
            let result = Fixture.read(String(decoding: bytes, as: UTF8.self))
            #expect(result.settings != nil || !result.faults.isEmpty, "seed \(seed), round \(round)")
            for fault in result.faults { #expect(!fault.contains("\n"), "seed \(seed), round \(round): \(fault)") }
            if let settings = result.settings {
                #expect((try? YAML.parse(text: settings.yaml, file: "e")) != nil, "seed \(seed)")
            }
        }
    }
}
