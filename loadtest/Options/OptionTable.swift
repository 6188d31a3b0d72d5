// Declares every option once: its name, its value, its help, and how it is read.

import CommandLine
import Foundation

/// One option.
struct Option: Sendable {
    let name: String
    /// As the help and the completion know it.
    let declaration: Program.Option
    /// Sets the value in `options`; `nil` where it is right, else what must stand there.
    let read: @Sendable (_ text: String, _ options: inout Options) -> String?

    private init(
        _ name: String, _ value: String? = nil, default defaultText: String? = nil, choices: [String] = [],
        isRepeatable: Bool = false, needs: String? = nil, help: String,
        read: @escaping @Sendable (_ text: String, _ options: inout Options) -> String?
    ) {
        self.name = name
        self.read = read
        declaration = Program.Option(
            name, value, default: defaultText, choices: choices, isRepeatable: isRepeatable, needs: needs, help: help
        ) { text in
            var options = Options()
            return read(text, &options)
        }
    }

    /// All options in the order of the help.
    static let all: [Option] = [
        Option("--target", "TARGET", default: "kafka", choices: Target.allCases.map(\.rawValue), help: "Where events are sent.") {
            text, options in
            options.target = Target(rawValue: text) ?? .kafka
            return nil
        },
        .text("--brokers", "HOST:PORT,...", "Kafka's bootstrap servers.") { $0.brokers = $1 },
        .text("--topic", "NAME", default: "messages", "The topic.") { $0.topic = $1 },
        .text("--url", "URL", "HTTP: where events are posted, such as http://127.0.0.1:8000/send.") { $0.url = $1 },
        .file(
            "--token-file", "HTTP: file with the bearer token of every request.",
            "a file with a token of visible ASCII characters"
        ) {
            guard $1.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return false }
            $0.token = $1
            return true
        },
        .text("--cacert", "FILE", "HTTP: PEM file of the authorities to trust, in place of the system's.") {
            $0.authorities = $1
        },
        .number("--rate", "R", default: "0", "Events per second; 0: as many as are answered.", 0...1e9) { $0.rate = $1 },
        .number("--duration", "SECONDS", "End after this time.", 0.001...1e7) { $0.duration = $1 },
        .integer("--events", "N", "End after this many events.", 1...(1 << 36 - 1)) { $0.events = UInt64($1) },
        .integer("--keys", "N", default: "10000", "Number of keys.", 1...Int(Int32.max)) { $0.keys = $1 },
        .integer("--key-base", "ID", default: "1", "Lowest id of the run's own range of keys.", 0...Int(Int32.max)) {
            $0.firstID = $1
        },
        .number("--skew", "Z", default: "0", "Zipf exponent over the keys; 0: all keys are equally frequent.", 0...20) {
            $0.skew = $1
        },
        Option("--mix", "C:U:D[:P]", default: "60:30:10", help: "Weights of create, update, delete and upsert.") {
            text, options in
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) ?? -1 }
            guard (3...4).contains(parts.count), parts.allSatisfy({ $0 >= 0 && $0.isFinite }), parts.contains(where: { $0 > 0 })
            else { return "three or four weights that are not all zero, such as 60:30:10" }
            options.mix = Mix(
                create: parts[0], update: parts[1], delete: parts[2], upsert: parts.count > 3 ? parts[3] : 0)
            return nil
        },
        .integer("--payload-bytes", "B", default: "100", "Bytes of the message text.", 0...(8 << 20)) { $0.payloadBytes = $1 },
        .number(
            "--bad-fraction", "F", default: "0", "Share of events that cannot be decoded: dead letters, 400 over HTTP.", 0...1
        ) {
            $0.badFraction = $1
        },
        .integer("--seed", "S", default: "1", "The same seed makes the same events.", 0...Int.max) { $0.seed = UInt64($1) },
        .integer("--connections", "N", default: "256", "HTTP: the most requests at a time.", 1...20_000) { $0.connections = $1 },
        .integer(
            "--batch", "N", default: "1", "HTTP: the most events of a request; above 1 they are sent as NDJSON.", 1...100_000
        ) {
            $0.batch = $1
        },
        .integer(
            "--max-waiting", "N", default: "1000000", "HTTP: due events that may wait to be sent; more are dropped and counted.",
            1...100_000_000
        ) { $0.waitingLimit = $1 },
        .number("--http-timeout", "SECONDS", default: "10", "HTTP: timeout of a request.", 0.01...3600) { $0.httpTimeout = $1 },
        .integer("--max-lag", "N", "Kafka: send no more while the worker's lag is above N events.", 1...Int.max) {
            $0.maxLag = UInt64($1)
        },
        .number("--linger-ms", "MS", default: "20", "Kafka: the producer's linger.ms.", 0...10_000) { $0.linger = $1 },
        Option(
            "--property", "NAME=VALUE", isRepeatable: true,
            help: "Kafka: a librdkafka property, TLS and SASL included; repeatable."
        ) {
            text, options in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else { return "NAME=VALUE" }
            options.properties[String(parts[0])] = String(parts[1])
            return nil
        },
        .flag(
            "--verify",
            "Compare table, change capture, dead letters and offsets with the model afterwards; exit 1 if they differ."
        ) {
            $0.verify = true
        },
        .text(
            "--postgres", "URI",
            "The database, for --verify, --max-lag and the lag in --progress. A password in it is visible to every user of the machine: "
                + "use --postgres-file or PGPASSWORD."
        ) { $0.postgres = $1 },
        .file("--postgres-file", "File with the URI of the database.", "a file with a connection URI") {
            $0.postgres = $1
            return true
        },
        .text("--group", "G", default: "sluice", "The worker's consumer group.") { $0.group = $1 },
        .text("--table", "NAME", default: "messages", "The table the worker writes.") { $0.table = $1 },
        .text("--capture-table", "NAME", default: "messages_cdc", "Its change capture; empty: there is none.") {
            $0.captureTable = $1
        },
        .number(
            "--verify-timeout", "SECONDS", default: "60",
            "The longest time the worker may take to catch up, or make no progress.",
            0...1e6
        ) { $0.verifyTimeout = $1 },
        .number(
            "--max-uncertain", "F", default: "0.01", "Share of keys with an unknown outcome above which the verification fails.",
            0...1
        ) { $0.maxUncertain = $1 },
        .text("--json", "FILE", "Write all figures as JSON; - is standard output.") { $0.json = $1 },
        .text("--report", "FILE", "Write a page with the figures and a plot over time.") { $0.report = $1 },
        .flag("--progress", "Print a line per second on standard error.") { $0.progress = true },
    ]

    private static func text(
        _ name: String, _ value: String, default defaultText: String? = nil, _ help: String,
        _ put: @escaping @Sendable (inout Options, String) -> Void
    ) -> Option {
        Option(name, value, default: defaultText, help: help) { text, options in
            put(&options, text)
            return nil
        }
    }

    /// An option whose value stands alone in a file, so that it is on no command line.
    private static func file(
        _ name: String, _ help: String, _ expected: String, _ put: @escaping @Sendable (inout Options, String) -> Bool
    ) -> Option {
        Option(name, "FILE", help: help) { path, options in
            let text = (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
            return text.map { !$0.isEmpty && put(&options, $0) } == true ? nil : expected
        }
    }

    private static func flag(_ name: String, _ help: String, _ put: @escaping @Sendable (inout Options) -> Void) -> Option {
        Option(name, help: help) { _, options in
            put(&options)
            return nil
        }
    }

    private static func number(
        _ name: String, _ value: String, default defaultText: String? = nil, _ help: String, _ bounds: ClosedRange<Double>,
        _ put: @escaping @Sendable (inout Options, Double) -> Void
    ) -> Option {
        Option(name, value, default: defaultText, help: help) { text, options in
            guard let number = Double(text), bounds.contains(number) else {
                return "a number from \(bounds.lowerBound) to \(bounds.upperBound)"
            }
            put(&options, number)
            return nil
        }
    }

    private static func integer(
        _ name: String, _ value: String, default defaultText: String? = nil, _ help: String, _ bounds: ClosedRange<Int>,
        _ put: @escaping @Sendable (inout Options, Int) -> Void
    ) -> Option {
        Option(name, value, default: defaultText, help: help) { text, options in
            guard let number = Int(text), bounds.contains(number) else {
                return "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)"
            }
            put(&options, number)
            return nil
        }
    }
}
