// Declares every option once: its name, its value, its help, and how it is read.

/// One option.
struct Option: Sendable {
    /// With its two dashes.
    let name: String
    /// What stands behind it; `nil`: nothing.
    let value: String?
    /// One line.
    let help: String
    /// Puts the value where it belongs; answers what must be there instead, where it is wrong.
    let read: @Sendable (_ text: String, _ options: inout Options) -> String?

    /// All options in the order of the help text.
    static let all: [Option] = [
        Option(name: "--target", value: "kafka|http", help: "where events go (kafka)") { text, options in
            guard let target = Target(rawValue: text) else { return "kafka or http" }
            options.target = target
            return nil
        },
        .text("--brokers", "HOST:PORT,…", "Kafka's bootstrap servers") { $0.brokers = $1 },
        .text("--topic", "NAME", "the topic (messages)") { $0.topic = $1 },
        .text("--url", "URL", "where events are posted, http://127.0.0.1:8000/send") { $0.url = $1 },
        .number("--rate", "R", "events a second, an open loop; 0: as fast as it goes (0)", 0...1e9) { $0.rate = $1 },
        .number("--duration", "SECONDS", "end after so long", 0.001...1e7) { $0.duration = $1 },
        .integer("--events", "N", "end after so many events", 1...(1 << 36 - 1)) { $0.events = UInt64($1) },
        .integer("--keys", "N", "number of keys (10000)", 1...Int(Int32.max)) { $0.keys = $1 },
        .integer("--key-base", "ID", "first id of the run's own range of keys (1)", 0...Int(Int32.max)) { $0.firstID = $1 },
        .number("--skew", "Z", "Zipf exponent over the keys; 0: all alike (0)", 0...20) { $0.skew = $1 },
        Option(name: "--mix", value: "C:U:D[:P]", help: "weights of create, update, delete and upsert (60:30:10)") {
            text, options in
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) ?? -1 }
            guard (3...4).contains(parts.count), parts.allSatisfy({ $0 >= 0 && $0.isFinite }), parts.contains(where: { $0 > 0 })
            else { return "three or four weights that are not all zero, such as 60:30:10" }
            options.mix = Mix(
                create: parts[0], update: parts[1], delete: parts[2], upsert: parts.count > 3 ? parts[3] : 0)
            return nil
        },
        .integer("--payload-bytes", "B", "bytes of the message text (100)", 0...(8 << 20)) { $0.payloadBytes = $1 },
        .number("--bad-fraction", "F", "share of events that decoding refuses: dead letters, 400 over HTTP (0)", 0...1) {
            $0.badFraction = $1
        },
        .integer("--seed", "S", "the same seed makes the same events (1)", 0...Int.max) { $0.seed = UInt64($1) },
        .integer("--connections", "N", "HTTP: most requests under way (256)", 1...20_000) { $0.connections = $1 },
        .integer("--batch", "N", "HTTP: most events in one request; above 1 they are sent as lines (1)", 1...100_000) {
            $0.batch = $1
        },
        .integer(
            "--max-waiting", "N", "HTTP: due events that may wait to be sent; more are dropped and counted (1000000)",
            1...100_000_000
        ) { $0.waitingLimit = $1 },
        .number("--http-timeout", "SECONDS", "HTTP: for one request (10)", 0.01...3600) { $0.httpTimeout = $1 },
        .integer("--max-lag", "N", "Kafka: wait while the worker is more than N events behind", 1...Int.max) {
            $0.maxLag = UInt64($1)
        },
        .number("--linger-ms", "MS", "Kafka: how long an event waits for others to share its request (20)", 0...10_000) {
            $0.linger = $1
        },
        Option(name: "--property", value: "NAME=VALUE", help: "Kafka: a librdkafka property, TLS and SASL included; repeatable") {
            text, options in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else { return "NAME=VALUE" }
            options.properties[String(parts[0])] = String(parts[1])
            return nil
        },
        .flag("--verify", "afterwards compare table, capture, dead letters and offsets with the model; exit 1 if they differ") {
            $0.verify = true
        },
        .text("--postgres", "URI", "the database, for --verify, --max-lag and the lag in --progress") { $0.postgres = $1 },
        .text("--group", "G", "the worker's consumer group (sluice)") { $0.group = $1 },
        .text("--table", "NAME", "the table the worker writes (messages)") { $0.table = $1 },
        .text("--capture-table", "NAME", "its change capture; empty: there is none (messages_cdc)") { $0.captureTable = $1 },
        .number("--verify-timeout", "SECONDS", "how long the worker may take to catch up, or to stand still (60)", 0...1e6) {
            $0.verifyTimeout = $1
        },
        .number("--max-uncertain", "F", "share of keys that may have an unknown outcome before verification fails (0.01)", 0...1)
        {
            $0.maxUncertain = $1
        },
        .text("--json", "FILE", "write all numbers; - is standard output") { $0.json = $1 },
        .text("--report", "FILE.html", "write a page with the numbers and a plot over time") { $0.report = $1 },
        .flag("--progress", "a line each second on standard error") { $0.progress = true },
    ]

    private static func text(
        _ name: String, _ value: String, _ help: String, _ put: @escaping @Sendable (inout Options, String) -> Void
    ) -> Option {
        Option(name: name, value: value, help: help) { text, options in
            put(&options, text)
            return nil
        }
    }

    private static func flag(_ name: String, _ help: String, _ put: @escaping @Sendable (inout Options) -> Void) -> Option {
        Option(name: name, value: nil, help: help) { _, options in
            put(&options)
            return nil
        }
    }

    private static func number(
        _ name: String, _ value: String, _ help: String, _ bounds: ClosedRange<Double>,
        _ put: @escaping @Sendable (inout Options, Double) -> Void
    ) -> Option {
        Option(name: name, value: value, help: help) { text, options in
            guard let number = Double(text), bounds.contains(number) else {
                return "a number from \(bounds.lowerBound) to \(bounds.upperBound)"
            }
            put(&options, number)
            return nil
        }
    }

    private static func integer(
        _ name: String, _ value: String, _ help: String, _ bounds: ClosedRange<Int>,
        _ put: @escaping @Sendable (inout Options, Int) -> Void
    ) -> Option {
        Option(name: name, value: value, help: help) { text, options in
            guard let number = Int(text), bounds.contains(number) else {
                return "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)"
            }
            put(&options, number)
            return nil
        }
    }
}
