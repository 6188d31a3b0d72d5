// Reads the command line.

import Settings

/// What the command line asks for.
enum Command: Equatable {
    case run(config: String?, isEmbedded: Bool, role: Role, brokerFile: String?)
    case checkConfig(config: String?, connects: Bool)
    case migrate(config: String?)
    case embeddedBroker(topics: [String])
    case configurationReference
    case version
    case help

    static let usage = """
        usage: sluice COMMAND [OPTIONS]

          run            Apply events and take them at the door, until SIGTERM or Ctrl-C.
                           --config FILE        configuration (default: config/sluice.yaml where it exists)
                           --embedded           start an in-memory Kafka broker of our own, for trying things out
                           --broker-file FILE   with --embedded: write the broker's address to FILE
                           --role ROLE          all (default) | worker | ingress
          check-config   Print the configuration in force, secrets covered, or everything that is wrong with it.
                           --config FILE
                           --connect            look at Kafka and PostgreSQL, too
          migrate        Apply pending migrations.
                           --config FILE
          --version      Print the version.
          --help         Print this.

        Every configuration key can be set by an environment variable: SLUICE_KAFKA_BOOTSTRAP_SERVERS for
        kafka.bootstrap_servers; SLUICE_POSTGRES_URI_FILE reads the value of postgres.uri from a file.
        """

    /// - Throws: `CommandError` naming the wrong word and the nearest right one.
    static func parse(_ arguments: [String]) throws -> Command {
        guard let name = arguments.first else { return .help }
        var options = Options(command: name, Array(arguments.dropFirst()))
        switch name {
        case "run":
            let config = try options.value("--config")
            let role = try options.value("--role") ?? Role.all.rawValue
            guard let role = Role(rawValue: role) else {
                throw CommandError("--role is all, worker or ingress, not \(role).", exitCode: 2)
            }
            let file = try options.value("--broker-file")
            let isEmbedded = options.flag("--embedded")
            try options.finish(known: ["--config", "--embedded", "--broker-file", "--role"])
            return .run(config: config, isEmbedded: isEmbedded, role: role, brokerFile: file)
        case "check-config":
            let config = try options.value("--config")
            let connects = options.flag("--connect")
            try options.finish(known: ["--config", "--connect"])
            return .checkConfig(config: config, connects: connects)
        case "migrate":
            let config = try options.value("--config")
            try options.finish(known: ["--config"])
            return .migrate(config: config)
        case "embedded-broker":
            return .embeddedBroker(topics: Array(arguments.dropFirst()))
        case "configuration-reference":
            try options.finish(known: [])
            return .configurationReference
        case "--version", "-V", "version": return .version
        case "--help", "-h", "help": return .help
        default:
            let nearest = Nearest.name(to: name, among: ["run", "check-config", "migrate", "--version", "--help"])
            throw CommandError(
                "sluice has no command \(name)" + (nearest.map { "; did you mean \($0)?" } ?? "; see sluice --help."), exitCode: 2
            )
        }
    }
}

/// The words behind a command.
private struct Options {
    let command: String
    var words: [String]

    init(command: String, _ words: [String]) {
        self.command = command
        // --name=value is --name value.
        self.words = words.flatMap { word -> [String] in
            guard word.hasPrefix("--"), let equals = word.firstIndex(of: "=") else { return [word] }
            return [String(word[..<equals]), String(word[word.index(after: equals)...])]
        }
    }

    mutating func flag(_ name: String) -> Bool {
        guard let index = words.firstIndex(of: name) else { return false }
        words.remove(at: index)
        return true
    }

    mutating func value(_ name: String) throws -> String? {
        guard let index = words.firstIndex(of: name) else { return nil }
        guard index + 1 < words.count else { throw CommandError("\(name) needs a value.", exitCode: 2) }
        defer { words.removeSubrange(index...index + 1) }
        return words[index + 1]
    }

    func finish(known: [String]) throws {
        guard let word = words.first else { return }
        let nearest = Nearest.name(to: word, among: known)
        throw CommandError(
            "sluice \(command) does not take \(word)" + (nearest.map { "; did you mean \($0)?" } ?? "; see sluice --help."),
            exitCode: 2)
    }
}
