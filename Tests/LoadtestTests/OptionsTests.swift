// Reads command lines, right and wrong ones.

import CommandLine
import Foundation
import Testing

@testable import sluice_loadtest

@Suite struct OptionsTests {
    private func options(_ line: String) throws -> Options {
        guard case .run(let options) = try Command.parse(line.split(separator: " ").map(String.init)) else {
            throw LoadError(.file, "it asks for help")
        }
        return options
    }

    private func fault(_ line: String) -> String {
        do {
            _ = try Command.parse(line.split(separator: " ").map(String.init))
            return ""
        } catch {
            return String(error.description.dropFirst("sluice-loadtest: ".count))
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
        #expect(fault("--brokers b --duration 1 --rat 5").hasPrefix("sluice-loadtest has no option --rat; did you mean --rate?"))
        #expect(fault("--duration 1").hasPrefix("--target kafka needs --brokers"))
        #expect(fault("--target http --duration 1").hasPrefix("--target http needs --url"))
        #expect(fault("--brokers b").hasPrefix("the length of the run is missing"))
        #expect(fault("--brokers b --events 1 --verify").hasPrefix("--verify needs --postgres"))
        #expect(fault("--brokers b --events 1 --keys 2000000000 --key-base 2000000000").contains("largest int4"))
        #expect(fault("--rat 5 --keys x").split(separator: "\n").count == 3, "all faults at once, and the hint")
    }

    @Test func theHelpNamesEveryOption() throws {
        guard case .print(let text) = try Command.parse(["--help"]) else { return #expect(Bool(false), "no help") }
        for option in Option.all { #expect(text.contains("\n  \(option.name)")) }
        #expect(Set(Option.all.map(\.name)).count == Option.all.count)
        #expect(text.utf8.allSatisfy { $0 < 0x80 })
    }

    @Test func secretsComeFromFiles() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("secret-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("a-token\n".utf8).write(to: file)
        let options = try options(
            "--target http --url https://h/send --events 1 --token-file \(file.path) --cacert ca.pem --verify --postgres-file \(file.path)"
        )
        #expect(options.token == "a-token" && options.authorities == "ca.pem" && options.postgres == "a-token")
        #expect(fault("--brokers b --events 1 --token-file \(file.path)").contains("--target http only"))
        let twice = fault("--brokers b --events 1 --postgres x --postgres-file \(file.path)")
        #expect(twice.contains("--postgres and --postgres-file exclude each other"))
        try Data("two words".utf8).write(to: file)
        for path in [file.path, file.path + "x"] {
            #expect(fault("--token-file \(path)").hasPrefix("--token-file must be a file with a token"))
        }
    }
}
