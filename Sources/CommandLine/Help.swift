// Arranges a program's declaration as a document, and renders it as the text of `--help`.

private import Settings

/// A part of the help or the man page.
struct HelpSection {
    enum Block {
        case text(String)
        case terms([Program.Term])
        /// Command lines; a meaning stands above its line as a comment.
        case commands([Program.Term])
    }

    let title: String
    let blocks: [Block]
}

extension Program {
    /// The commands that are listed.
    var visible: [Command] { commands.filter { !$0.isHidden } }

    /// Command lines that the help and the man page show as usage.
    func usage(_ command: Command?) -> [Term] {
        guard let command, command.name != name else {
            return root.options.isEmpty ? [("\(name) COMMAND [OPTIONS]", "")] : [("\(name) [OPTIONS]", "")]
        }
        let options = command.options.isEmpty ? "" : " [OPTIONS]"
        return [(title(command) + options + (command.operand.map { " \($0)" } ?? ""), "")]
    }

    /// The options of a command, and those that every command has.
    func terms(_ command: Command) -> [Term] {
        command.options.map(\.term) + [("-h, --help", "Print this help.")]
            + (command.name == name ? [("-V, --version", "Print the version.")] : [])
    }

    /// Exit codes, files and environment.
    var appendix: [HelpSection] {
        [("Exit codes", exitCodes), ("Files", files), ("Environment", environment)].filter { !$0.1.isEmpty }
            .map { HelpSection(title: $0.0, blocks: [.terms($0.1)]) }
    }

    /// The text of `--help`: of a command, or of the program.
    func help(_ command: Command?) -> String {
        let subject = command ?? root
        var sections = [HelpSection(title: "Usage", blocks: [.commands(usage(command))] + subject.text.map { .text($0) })]
        if command == nil {
            sections.append(HelpSection(title: "Commands", blocks: [.terms(visible.map { ($0.name, $0.summary) })]))
        }
        sections.append(HelpSection(title: "Options", blocks: [.terms(terms(subject))]))
        if !subject.examples.isEmpty { sections.append(HelpSection(title: "Examples", blocks: [.commands(subject.examples)])) }
        if isOwn(subject) { sections += appendix }
        return subject.summary + "\n\n" + sections.map(Self.text).joined(separator: "\n")
    }

    private static func text(_ section: HelpSection) -> String {
        let blocks = section.blocks.map { block in
            switch block {
            case .text(let text): filled(text, indent: 2)
            case .terms(let terms): self.terms(terms)
            case .commands(let lines):
                lines.map { ($0.meaning.isEmpty ? "" : filled("# " + $0.meaning, indent: 2)) + "  \($0.name)\n" }.joined()
            }
        }
        return "\(section.title):\n" + blocks.joined(separator: "\n")
    }

    private static func terms(_ terms: [Term]) -> String {
        let column = min(30, (terms.map(\.name.count).max() ?? 0) + 4)
        return terms.map { name, meaning in
            let lines = filled(meaning, indent: column)
            guard name.count + 4 <= column else { return "  \(name)\n\(lines)" }
            return "  \(name)" + lines.dropFirst(name.count + 2)
        }.joined()
    }

    /// Words in lines of at most 90 columns.
    private static func filled(_ text: String, indent: Int) -> String {
        Filled.lines(text, columns: 90 - indent).map { String(repeating: " ", count: indent) + $0 + "\n" }.joined()
    }
}
