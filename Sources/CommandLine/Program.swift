// Declares a program's command line once; parsing, help, shell completion and the man page follow from it.

/// A program with its commands, or with options only. All texts are ASCII, so that every terminal and roff show them.
public struct Program: Sendable {
    /// A name and what it means.
    public typealias Term = (name: String, meaning: String)

    /// An option, `--config FILE` or `--config=FILE`.
    public struct Option: Sendable {
        let name: String
        let value: String?
        let defaultText: String?
        let choices: [String]
        let isRepeatable: Bool
        let needs: String?
        let help: String
        let expected: @Sendable (String) -> String?

        /// - Parameters:
        ///   - name: with its two dashes.
        ///   - value: placeholder of the value; `FILE` is completed with file names; `nil`: the option takes no value.
        ///   - defaultText: what holds without the option, where that is worth saying.
        ///   - choices: the only values there are; empty: any.
        ///   - isRepeatable: may be given more than once.
        ///   - needs: an option without which this one has no effect, which is an error.
        ///   - help: one sentence.
        ///   - expected: `nil` where a value is right, else what must stand there: "a whole number".
        public init(
            _ name: String, _ value: String? = nil, default defaultText: String? = nil, choices: [String] = [],
            isRepeatable: Bool = false, needs: String? = nil, help: String,
            expected: @escaping @Sendable (String) -> String? = { _ in nil }
        ) {
            self.name = name
            self.value = value
            self.defaultText = defaultText
            self.choices = choices
            self.isRepeatable = isRepeatable
            self.needs = needs
            self.help = help
            self.expected = { choices.isEmpty || choices.contains($0) ? expected($0) : Program.listed(choices) }
        }

        var usage: String { value.map { "\(name) \($0)" } ?? name }
        var term: Term { (usage, defaultText.map { "\(help) Default: \($0)." } ?? help) }
    }

    /// A command, or, with an empty name, the program itself.
    public struct Command: Sendable {
        let name: String
        let summary: String
        let text: [String]
        let operand: String?
        let choices: [String]
        let options: [Option]
        let examples: [Term]
        let isHidden: Bool

        /// - Parameters:
        ///   - summary: one sentence.
        ///   - text: further paragraphs.
        ///   - operand: placeholder of what stands after the name: `SHELL`, `[COMMAND]` where it may be left out, `TOPIC...` for several.
        ///   - choices: the only operands there are; empty: any.
        ///   - examples: command lines and what they do.
        ///   - isHidden: not listed; for tools.
        public init(
            _ name: String, summary: String, text: [String] = [], operand: String? = nil, choices: [String] = [],
            options: [Option] = [], examples: [Term] = [], isHidden: Bool = false
        ) {
            self.name = name
            self.summary = summary
            self.text = text
            self.operand = operand
            self.choices = choices
            self.options = options
            self.examples = examples
            self.isHidden = isHidden
        }
    }

    let name: String
    let version: String
    let libraries: [String]
    let root: Command
    let commands: [Command]
    let exitCodes: [Term]
    let files: [Term]
    let environment: [Term]

    /// - Parameters:
    ///   - libraries: names and versions of libraries, which `--version` prints below the program's, one a line.
    ///   - root: the program itself: its name, purpose and examples; its options where it has no commands.
    ///   - commands: in the order of the help; `help` and `completion` are added.
    public init(
        version: String, libraries: [String] = [], root: Command, commands: [Command] = [], exitCodes: [Term], files: [Term] = [],
        environment: [Term] = []
    ) {
        name = root.name
        self.version = version
        self.libraries = libraries
        self.root = root
        let shells = Shell.allCases.map(\.rawValue)
        self.commands =
            commands + [
                Command(
                    "help", summary: "Print this help, or that of a command.", operand: commands.isEmpty ? nil : "[COMMAND]",
                    choices: commands.filter { !$0.isHidden }.map(\.name)),
                Command(
                    "completion", summary: "Print the completion script of a shell.", operand: "SHELL", choices: shells,
                    examples: [("source <(\(root.name) completion bash)", "Complete commands and options in this bash.")]),
                Command("man", summary: "Print the man page.", isHidden: true),
            ]
        self.exitCodes = exitCodes
        self.files = files
        self.environment = environment
    }

    /// `sluice run` for a command, `sluice-loadtest` for a program without commands.
    func title(_ command: Command) -> String { command.name == name ? name : "\(name) \(command.name)" }

    /// Whether a command is one of the program's own, about which exit codes, files and environment say something.
    func isOwn(_ command: Command) -> Bool { !["help", "completion", "man"].contains(command.name) }

    static func listed(_ names: [String]) -> String {
        names.count < 2 ? names.joined() : names.dropLast().joined(separator: ", ") + " or " + names[names.count - 1]
    }
}
