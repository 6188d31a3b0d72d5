// Reads the command line into options, or says everything that is wrong with it at once.

/// What the command line asks for.
enum Command: Sendable, Equatable {
    /// Make a run.
    case run(Options)
    /// Print the help text.
    case help

    /// Reads the arguments behind the program's name: `--name value` or `--name=value`.
    static func parse(_ arguments: [String]) throws(LoadError) -> Command {
        if arguments.contains("--help") || arguments.contains("-h") { return .help }
        var options = Options()
        var faults: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let option = Option.all.first(where: { $0.name == parts[0] }) else {
                faults.append("unknown option \(parts[0])" + nearest(to: parts[0]))
                // Its value, if it has one, is not an option of its own.
                if parts.count == 1, rest.first?.hasPrefix("--") == false { _ = rest.popFirst() }
                continue
            }
            var value = ""
            if option.value != nil {
                guard let found = parts.count > 1 ? parts[1] : rest.popFirst() else {
                    faults.append("\(option.name) needs a value: \(option.name) \(option.value ?? "")")
                    continue
                }
                value = found
            } else if parts.count > 1 {
                faults.append("\(option.name) takes no value")
                continue
            }
            if let expected = option.read(value, &options) {
                faults.append("\(option.name) must be \(expected), is \"\(value)\"")
            }
        }
        if faults.isEmpty { faults = options.faults }
        guard faults.isEmpty else {
            throw LoadError(.usage, faults.joined(separator: "\n") + "\nsluice-loadtest --help lists all options")
        }
        return .run(options)
    }

    /// The help text.
    static var helpText: String {
        let lines = Option.all.map { option in
            let head = "  \(option.name) \(option.value ?? "")"
            return head + String(repeating: " ", count: max(1, 30 - head.count)) + option.help
        }
        return """
            Produces events into Kafka or over HTTP at a rate, and compares what became of them with its own model.

            usage: sluice-loadtest --target kafka --brokers HOST:PORT (--duration S | --events N) [options]
                   sluice-loadtest --target http --url URL (--duration S | --events N) [options]

            \(lines.joined(separator: "\n"))

            exit code: 0 all well, 1 verification or the run failed, 2 wrong command line
            """
    }

    private static func nearest(to name: String) -> String {
        let ranked = Option.all.map { ($0.name, distance(name, $0.name)) }.min { $0.1 < $1.1 }
        guard let ranked, ranked.1 <= 3 else { return "" }
        return "; did you mean \(ranked.0)?"
    }

    /// Edits between two words (Levenshtein), row by row.
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b)
        var row = Array(0...b.count)
        for (i, character) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let cost = min(row[j] + 1, row[j + 1] + 1, diagonal + (character == b[j] ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = cost
            }
        }
        return row[b.count]
    }
}
