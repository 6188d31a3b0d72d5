// Declares the command line of `sluice-loadtest`, and reads it into options.

import CommandLine

/// What the command line asks for.
enum Command: Sendable, Equatable {
    /// Make a run.
    case run(Options)
    /// Text for standard output.
    case print(String)

    static let program = Program(
        version: "0.1.0",
        root: Program.Command(
            "sluice-loadtest",
            summary:
                "Send events to Kafka or to the HTTP ingress at a rate, and compare the tables with a model of what must be there.",
            text: [
                "Exactly one of --duration and --events is needed, or both: then the first to be reached ends the load. The load is an open "
                    + "loop: late answers do not slow its schedule. The first SIGINT or SIGTERM ends the load, and verification and report "
                    + "follow; a second one, half a second later or more, ends the process."
            ],
            options: Option.all.map(\.declaration),
            examples: [
                (
                    "sluice-loadtest --target kafka --brokers 127.0.0.1:9092 --rate 20000 --duration 30",
                    "Produce 20,000 events a second for 30 seconds."
                ),
                (
                    "sluice-loadtest --target http --url https://sluice.example/send --token-file token --events 1000 --verify "
                        + "--postgres-file uri", "Post 1,000 events with a bearer token, then compare the tables."
                ),
            ]),
        exitCodes: [
            ("0", "Success; with --verify: the tables are as they must be."),
            ("1", "The run or the verification failed."),
            ("2", "Wrong command line."),
            ("130, 143", "A second SIGINT or SIGTERM ended the process."),
        ],
        environment: [("PGPASSWORD, PGPASSFILE, ...", "libpq's variables, for what --postgres leaves out.")])

    /// Reads the arguments after the program's name.
    /// - Throws: `UsageError` with everything that is wrong.
    static func parse(_ arguments: [String]) throws(UsageError) -> Command {
        switch try program.parse(arguments) {
        case .text(let text): return .print(text)
        case .invocation(let given):
            var options = Options()
            // Values that cannot be read have been refused.
            for option in given.options { _ = Option.all.first { $0.name == option.name }?.read(option.value, &options) }
            var faults = options.faults
            if given["--postgres"] != nil, given["--postgres-file"] != nil {
                faults.append("--postgres and --postgres-file exclude each other; keep one of them")
            }
            guard faults.isEmpty else { throw program.error(faults, nil) }
            return .run(options)
        }
    }
}
