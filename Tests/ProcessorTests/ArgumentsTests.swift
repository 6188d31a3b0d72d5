// Proves that the command line is read as its usage says.

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
        #expect(try Command.parse(["--version"]) == .version)
        #expect(try Command.parse([]) == .help)
    }

    @Test(arguments: [
        (["rum"], "did you mean run?"), (["run", "--embeded"], "did you mean --embedded?"),
        (["run", "--role", "boss"], "all, worker or ingress"), (["run", "--config"], "--config needs a value"),
        (["migrate", "now"], "does not take now"),
    ])
    func wrongWordsAreNamed(words: [String], says: String) {
        do {
            _ = try Command.parse(words)
            Issue.record("\(words) was taken")
        } catch {
            let error = error as? CommandError
            #expect(error?.exitCode == 2)
            #expect(error?.description.contains(says) == true, "\(error?.description ?? "another error")")
        }
    }
}
