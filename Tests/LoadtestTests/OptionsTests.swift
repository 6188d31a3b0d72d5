// Reads command lines, right and wrong ones.

import Testing

@testable import sluice_loadtest

@Suite struct OptionsTests {
    private func options(_ line: String) throws -> Options {
        guard case .run(let options) = try Command.parse(line.split(separator: " ").map(String.init)) else {
            throw LoadError(.usage, "help was not asked for")
        }
        return options
    }

    private func fault(_ line: String) -> String {
        do {
            _ = try Command.parse(line.split(separator: " ").map(String.init))
            return ""
        } catch {
            return error.description
        }
    }

    @Test func everythingCanBeSaid() throws {
        let options = try options(
            """
            --target kafka --brokers 127.0.0.1:9092 --topic t --rate 2500.5 --duration 20 --events 10 --keys 7 --skew 1.1 \
            --mix 1:2:3:4 --payload-bytes 0 --bad-fraction 0.25 --seed 99 --key-base 1000 --verify --postgres postgres://h/d \
            --group g --verify-timeout 5 --json - --report r.html --progress --max-lag 100 --table a.b --max-uncertain 0.5
            """)
        var expected = Options()
        expected.brokers = "127.0.0.1:9092"
        expected.topic = "t"
        expected.rate = 2500.5
        expected.duration = 20
        expected.events = 10
        expected.keys = 7
        expected.skew = 1.1
        expected.mix = Mix(create: 1, update: 2, delete: 3, upsert: 4)
        expected.payloadBytes = 0
        expected.badFraction = 0.25
        expected.seed = 99
        expected.firstID = 1000
        expected.verify = true
        expected.postgres = "postgres://h/d"
        expected.group = "g"
        expected.verifyTimeout = 5
        expected.json = "-"
        expected.report = "r.html"
        expected.progress = true
        expected.maxLag = 100
        expected.table = "a.b"
        expected.maxUncertain = 0.5
        #expect(options == expected)
    }

    @Test func valuesMayStandBehindAnEqualsSign() throws {
        let options = try options("--target=http --url=http://h/send?a=b --duration=1 --capture-table=")
        #expect(options.target == .http && options.url == "http://h/send?a=b" && options.captureTable == "")
    }

    @Test func faultsNameTheOptionAndTheRemedy() {
        #expect(fault("--brokers b --duration 1 --mix 1:2").hasPrefix("--mix must be three or four weights"))
        #expect(fault("--brokers b --duration 1 --mix 0:0:0").hasPrefix("--mix must be"))
        #expect(fault("--brokers b --duration 1 --rate -1").hasPrefix("--rate must be a number from 0.0"))
        #expect(fault("--brokers b --duration 1 --keys 0").hasPrefix("--keys must be a whole number from 1"))
        #expect(fault("--brokers b --duration 1 --keys").hasPrefix("--keys needs a value: --keys N"))
        #expect(fault("--brokers b --duration 1 --verify=yes").hasPrefix("--verify takes no value"))
        #expect(fault("--brokers b --duration 1 --rat 5").hasPrefix("unknown option --rat; did you mean --rate?"))
        #expect(fault("--duration 1").hasPrefix("--target kafka needs --brokers"))
        #expect(fault("--target http --duration 1").hasPrefix("--target http needs --url"))
        #expect(fault("--brokers b").hasPrefix("say how long"))
        #expect(fault("--brokers b --events 1 --verify").hasPrefix("--verify needs --postgres"))
        #expect(fault("--brokers b --events 1 --keys 2000000000 --key-base 2000000000").contains("largest int4"))
        #expect(fault("--rat 5 --keys x").split(separator: "\n").count == 3, "all faults at once, and the hint")
    }

    @Test func theHelpTextNamesEveryOption() throws {
        #expect(try Command.parse(["--help"]) == .help)
        for option in Option.all { #expect(Command.helpText.contains("  \(option.name)")) }
        #expect(Set(Option.all.map(\.name)).count == Option.all.count)
    }
}
