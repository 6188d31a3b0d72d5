// Declares the command line of `sluice`, and reads it.

import CommandLine
import Decode
import Settings

/// What the command line asks for.
enum Command: Equatable {
    case run(config: String?, isEmbedded: Bool, role: Role, brokerFile: String?)
    case checkConfig(config: String?, connects: Bool)
    case migrate(config: String?)
    case embeddedBroker(topics: [String])
    /// Text for standard output.
    case print(String)

    private static let config = Program.Option(
        "--config", "FILE", default: "\(Configuration.usualPath) where it exists, else the defaults of all keys",
        help: "Configuration file.")

    static let program = Program(
        version: sluiceVersion, libraries: libraryVersions.map { "\($0) \($1)" },
        root: Program.Command(
            "sluice", summary: "Move events from Kafka topics into PostgreSQL tables, and take events over HTTP.",
            text: [
                "sluice run is the program itself. Its consumer writes every event of the topics exactly once into a table, as a mapping "
                    + "file says; its HTTP ingress (POST /send) validates events and answers when Kafka has them."
            ],
            examples: [
                ("sluice run --embedded", "Try it with an in-memory Kafka broker; PostgreSQL is the one of postgres.uri."),
                ("sluice help run", "Everything about one command."),
            ]),
        commands: [
            Program.Command(
                "run", summary: "Run the consumer and the HTTP ingress until SIGTERM or Ctrl-C.",
                text: [
                    "Pending migrations are applied first unless postgres.migrate is false. At the first SIGTERM or SIGINT the process "
                        + "finishes what is under way, for at most pipeline.shutdown_timeout; a second one, half a second later or more, "
                        + "ends it at once. SIGHUP reads the configuration again.",
                    "Log lines go to standard error (log.level, log.format).",
                ],
                options: [
                    config,
                    Program.Option(
                        "--embedded", help: "Start an in-memory Kafka broker in a child process, for trying things out."),
                    Program.Option(
                        "--broker-file", "FILE", needs: "--embedded", help: "Write the address of that broker to FILE."),
                    Program.Option(
                        "--role", "ROLE", default: Role.all.rawValue, choices: Role.allCases.map(\.rawValue),
                        help: "Run the consumer (worker), the HTTP ingress (ingress) or both (all)."),
                ],
                examples: [
                    ("sluice run --config /etc/sluice/sluice.yaml", "Consumer and ingress in one process."),
                    (
                        "SLUICE_POSTGRES_URI_FILE=/run/secrets/postgres sluice run --role worker",
                        "The consumer only; a secret from a file."
                    ),
                ]),
            Program.Command(
                "check-config", summary: "Print the configuration in force, or everything that is wrong with it.",
                text: ["Each key is shown with its value and where it was set; secrets are covered."],
                options: [
                    config,
                    Program.Option(
                        "--connect", help: "Also check topics, tables and pending migrations on Kafka and PostgreSQL."),
                ],
                examples: [("sluice check-config --connect", "Check before a deployment.")]),
            Program.Command(
                "migrate", summary: "Apply pending migrations to the database.", options: [config],
                examples: [("sluice migrate --config sluice.yaml", "Prepare the database before the first run.")]),
            Program.Command(
                "embedded-broker", summary: "Serve the in-memory broker of run --embedded until standard input ends.",
                operand: "TOPIC...", isHidden: true),
            Program.Command(
                "schema", summary: "Print the JSON Schema of a kind of file, by which editors complete and check it.",
                text: [
                    "config is the configuration, mapping a mapping file. The YAML language server of most editors finds the schema "
                        + "by a file's first line: # yaml-language-server: $schema=PATH."
                ],
                operand: "KIND", choices: ["config", "mapping"],
                examples: [("sluice schema mapping > mapping.json", "The schema of this version.")]),
            Program.Command("configuration-reference", summary: "Print docs/configuration.md.", isHidden: true),
        ],
        exitCodes: [
            ("0", "Success; for run also: a signal was obeyed."),
            ("1", "Failure: a server refused something, or with --connect could not be reached."),
            ("2", "Wrong command line."),
            ("78", "Wrong configuration (EX_CONFIG); every fault is named, and starting again will not help."),
            ("130, 143", "A second SIGINT or SIGTERM ended the process."),
        ],
        files: [
            (Configuration.usualPath, "Configuration without --config, where it exists. Other paths in it are relative to it.")
        ],
        environment: [
            ("SLUICE_...", "Sets a configuration key: SLUICE_KAFKA_BOOTSTRAP_SERVERS for kafka.bootstrap_servers."),
            ("SLUICE_..._FILE", "Names a file with the value: SLUICE_POSTGRES_URI_FILE for postgres.uri."),
        ])

    /// - Throws: `UsageError` with everything that is wrong.
    static func parse(_ arguments: [String]) throws(UsageError) -> Command {
        switch try program.parse(arguments) {
        case .text(let text): .print(text)
        case .invocation(let given):
            switch given.command {
            case "run":
                .run(
                    config: given["--config"], isEmbedded: given["--embedded"] != nil,
                    role: given["--role"].flatMap(Role.init(rawValue:)) ?? .all, brokerFile: given["--broker-file"])
            case "check-config": .checkConfig(config: given["--config"], connects: given["--connect"] != nil)
            case "migrate": .migrate(config: given["--config"])
            case "embedded-broker": .embeddedBroker(topics: given.operands)
            case "schema":
                .print(
                    given.operands == ["mapping"]
                        ? Mapping.jsonSchema.document(title: "A mapping file of Sluice")
                        : SluiceSettings.schema.jsonSchema.document(title: "The configuration of Sluice"))
            default: .print(SluiceSettings.reference)
            }
        }
    }
}
