// Proves that the command line of `sluice` asks for the right thing, and that its manual holds what the code does.

import CommandLine
import Decode
import Foundation
import Settings
import Testing

@testable import sluice

@Suite struct ArgumentsTests {
    @Test func readsEveryOption() throws {
        #expect(
            try Command.parse(["run", "--config", "a.yaml", "--embedded", "--broker-file=b", "--role", "worker"])
                == .run(config: "a.yaml", isEmbedded: true, role: .worker, brokerFile: "b"))
        #expect(try Command.parse(["run"]) == .run(config: nil, isEmbedded: false, role: .all, brokerFile: nil))
        #expect(try Command.parse(["check-config", "--connect"]) == .checkConfig(config: nil, connects: true))
        #expect(try Command.parse(["migrate", "--config=x"]) == .migrate(config: "x"))
        #expect(
            try Command.parse(["try", "--mapping", "m", "--events", "-", "--expect", "e", "--json"])
                == .tryMapping(TryOptions(mapping: "m", source: .file("-"), expected: "e", isJSON: true)))
        #expect(
            try Command.parse(["try", "--mapping", "m", "--topic", "t", "--config", "c"])
                == .tryMapping(
                    TryOptions(mapping: "m", source: .topic("t", limit: 10, config: "c"), expected: nil, isJSON: false)))
        #expect(
            try Command.parse(["mapping", "suggest", "--topic", "t", "--table", "s.t", "--limit=5"])
                == .suggestMapping(SuggestOptions(topic: "t", table: "s.t", limit: 5, config: nil)))
        #expect(try Command.parse(["embedded-broker", "a", "b"]) == .embeddedBroker(topics: ["a", "b"]))
        #expect(
            try Command.parse(["schema", "mapping"]) == .print(Mapping.jsonSchema.document(title: "A mapping file of Sluice")))
        #expect(try Command.parse(["configuration-reference"]) == .print(SluiceSettings.reference))
    }

    @Test func theVersionNamesTheLibraries() throws {
        var text = ""
        if case .print(let printed) = try Command.parse(["--version"]) { text = printed }
        let lines = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(lines.map(\.first) == ["sluice", "librdkafka", "libpq", "simdjson", "libmicrohttpd"])
        #expect(lines.allSatisfy { $0.count == 2 && $0[1].contains(/^\d+\.\d+/) }, "\(text)")
    }

    @Test(arguments: [
        (["rum"], "did you mean run?"), (["run", "--embeded"], "did you mean --embedded?"),
        (["run", "--role", "boss"], "all, worker or ingress"), (["run", "--config"], "--config needs a value"),
        (["migrate", "now"], "does not take the argument now"), (["migrate", "--connect"], "belongs to sluice check-config"),
        (["schema", "mappings"], "did you mean mapping?"),
        (["try", "--mapping", "m", "--events", "e", "--topic", "t"], "either --events FILE or --topic TOPIC"),
        (["try", "--mapping", "m", "--events", "e", "--limit", "5"], "--limit has no effect without --topic"),
        (["run", "--broker-file", "b"], "--broker-file has no effect without --embedded"), ([], "Usage:"),
    ])
    func wrongWordsAreNamed(words: [String], says: String) {
        do {
            _ = try Command.parse(words)
            Issue.record("\(words) was taken")
        } catch {
            #expect(error.description.contains(says), "\(error)")
        }
    }

    @Test func theHelpOfRunBeginsWithItsPurpose() throws {
        guard case .print(let text) = try Command.parse(["run", "--help"]) else { return #expect(Bool(false), "no help") }
        #expect(
            text.hasPrefix("Run the consumer and the HTTP ingress until SIGTERM or Ctrl-C.\n\nUsage:\n  sluice run [OPTIONS]\n"))
        for part in ["--broker-file FILE", "\nExamples:\n", "\n  78 ", "config/sluice.yaml", "SLUICE_..._FILE"] {
            #expect(text.contains(part), "the help of run lacks \(part)")
        }
    }

    @Test func theCommittedManPageIsTheOneThatIsPrinted() throws {
        let file = "\(URL(fileURLWithPath: #filePath).deletingLastPathComponent().path)/../../docs/man/sluice.1"
        let written = try? String(contentsOfFile: file, encoding: .utf8)
        #expect(written == Command.program.manPage, "docs/man/sluice.1 is not what `sluice man` prints; write it anew")
        #expect(Command.program.manPage.utf8.allSatisfy { $0 < 0x80 }, "man pages are ASCII")
    }
}
