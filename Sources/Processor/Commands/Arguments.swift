// Declares the command line of `sluice`, and reads it.

import CommandLine
import Decode
import Platform
import Settings

/// What the command line asks for.
enum Command: Equatable {
    case run(config: String?, isEmbedded: Bool, role: Role, brokerFile: String?)
    case checkConfig(config: String?, connects: Bool)
    case migrate(config: String?)
    case tryMapping(TryOptions)
    case suggestMapping(SuggestOptions)
    case embeddedBroker(topics: [String])
    /// Text for standard output.
    case print(String)

    private static let config = Program.Option(
        "--config", "FILE", default: "\(Configuration.usualPath) where it exists, else the defaults of all keys",
        help: "Configuration file.")

    private static let tryLimit = 10
    private static let suggestLimit = 1000
    private static let positive: @Sendable (String) -> String? = {
        Int($0).map { (1...1_000_000).contains($0) } == true ? nil : "a whole number from 1 to 1000000"
    }
    private static let topic: @Sendable (String) -> String? = {
        TopicPattern.isPattern($0) ? "the name of one topic, and not an expression" : nil
    }
    private static let table: @Sendable (String) -> String? = {
        Mapping.tableName($0) == nil ? Mapping.tableNameForm : nil
    }

    static let program = Program(
        version: sluiceVersion, libraries: libraryVersions.map { "\($0) \($1)" },
        root: Program.Command(
            "sluice", summary: "Move events from Kafka topics into PostgreSQL tables, and take events over HTTP.",
            text: [
                "sluice run is the program itself. Its consumer writes every event of the topics exactly once into tables, as mapping "
                    + "files say; its HTTP ingress (POST /send) validates events and answers when Kafka has them."
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
                "try", summary: "Print what a mapping makes of events, without a database.",
                text: [
                    "Prints one line for each event: its place, the operation, the row's key and the columns that are written, as "
                        + "PostgreSQL shows them (arrays and JSON as they are sent); or the reason for which the worker would refuse or "
                        + "skip it.",
                    "A line of a file of events is a payload, as POST /send takes it. To give more of a record, write record and a JSON "
                        + "object with value (null: no payload), key, headers, timestamp, topic, partition and offset; all but value may be "
                        + "left out. Empty lines and lines that begin with # are ignored.",
                    "A topic is read from its beginning, evenly from all partitions, without a group; nothing is committed.",
                ],
                options: [
                    Program.Option("--mapping", "FILE", help: "Mapping file."),
                    Program.Option("--events", "FILE", help: "File of events, one a line; - is the standard input."),
                    Program.Option("--topic", "TOPIC", help: "Read the events from this topic.", expected: topic),
                    Program.Option(
                        "--limit", "N", default: "\(tryLimit)", needs: "--topic", help: "The most records.", expected: positive),
                    Program.Option(
                        "--expect", "FILE",
                        help: "Compare the lines with those in FILE; print those that differ, and exit with 1."),
                    Program.Option("--json", help: "Print a JSON object for each event."),
                    Program.Option(
                        "--config", "FILE", default: "\(Configuration.usualPath) where it exists", needs: "--topic",
                        help: "Configuration file that names the brokers."),
                ],
                examples: [
                    ("sluice try --mapping orders.yaml --topic orders", "The first ten records of a topic."),
                    (
                        "sluice try --mapping orders.yaml --events orders.ndjson --expect orders.tried.txt",
                        "A test of the mapping."
                    ),
                ]),
            Program.Command(
                "mapping", summary: "Suggest a mapping for a topic and a table.",
                text: [
                    "mapping suggest reads the first records of a topic, without a group, and prints a mapping that takes them: envelope, "
                        + "key, and a column for each field, with comments on what could not be decided. With --table the columns, types "
                        + "and the primary key are those of the table where it exists."
                ],
                operand: "suggest", choices: ["suggest"],
                options: [
                    Program.Option("--topic", "TOPIC", help: "The topic to read.", expected: topic),
                    Program.Option("--table", "TABLE", help: "The table, as a name or as schema.name.", expected: table),
                    Program.Option("--limit", "N", default: "\(suggestLimit)", help: "The most records.", expected: positive),
                    config,
                ],
                examples: [("sluice mapping suggest --topic orders --table sales.orders >orders.yaml", "Begin a mapping.")]),
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
            (
                "1",
                "Failure: a server refused something, or could not be reached; for try also: the events are not as expected."
            ),
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
            case "try": .tryMapping(try tryOptions(given))
            case "mapping": .suggestMapping(try suggestOptions(given))
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

    private static func tryOptions(_ given: Invocation) throws(UsageError) -> TryOptions {
        guard let mapping = given["--mapping"] else { throw program.error(["sluice try needs --mapping FILE"], "try") }
        let source: TryOptions.Source
        switch (given["--events"], given["--topic"]) {
        case (let file?, nil): source = .file(file)
        case (nil, let topic?):
            source = .topic(topic, limit: given["--limit"].flatMap { Int($0) } ?? tryLimit, config: given["--config"])
        default: throw program.error(["sluice try needs either --events FILE or --topic TOPIC"], "try")
        }
        return TryOptions(mapping: mapping, source: source, expected: given["--expect"], isJSON: given["--json"] != nil)
    }

    private static func suggestOptions(_ given: Invocation) throws(UsageError) -> SuggestOptions {
        guard let topic = given["--topic"] else { throw program.error(["sluice mapping suggest needs --topic TOPIC"], "mapping") }
        return SuggestOptions(
            topic: topic, table: given["--table"], limit: given["--limit"].flatMap { Int($0) } ?? suggestLimit,
            config: given["--config"])
    }
}
