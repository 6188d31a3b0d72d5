// Renders a program's declaration as a man page, section 1 (roff with the man macros; man(7), groff_man(7)).

extension Program {
    /// The page, as `docs/man/` holds it.
    public var manPage: String {
        var sections = [
            HelpSection(
                title: "NAME", blocks: [.text("\(name) - \(root.summary.dropLast(root.summary.hasSuffix(".") ? 1 : 0))")]),
            HelpSection(title: "SYNOPSIS", blocks: [.commands(usage(nil))]),
        ]
        if !root.text.isEmpty { sections.append(HelpSection(title: "DESCRIPTION", blocks: root.text.map { .text($0) })) }
        sections.append(HelpSection(title: "OPTIONS", blocks: [.terms(terms(root))]))
        var page = ".TH \(Self.escaped(name.uppercased())) 1 \"\" \"\(Self.escaped("\(name) \(version)"))\" \"User Commands\"\n"
        page += sections.map { Self.roff($0, macro: "SH") }.joined()
        page += ".SH COMMANDS\n"
        for command in visible {
            let blocks: [HelpSection.Block] = [.text(command.summary)] + command.text.map { .text($0) }
            let options: [HelpSection.Block] = command.options.isEmpty ? [] : [.terms(command.options.map(\.term))]
            page += Self.roff(HelpSection(title: usage(command)[0].name, blocks: blocks + options), macro: "SS")
        }
        let examples = root.examples + commands.flatMap(\.examples)
        page += Self.roff(HelpSection(title: "EXAMPLES", blocks: [.commands(examples)]), macro: "SH")
        for section in appendix {
            let title = section.title == "Exit codes" ? "EXIT STATUS" : section.title.uppercased()
            page += Self.roff(HelpSection(title: title, blocks: section.blocks), macro: "SH")
        }
        return page
    }

    private static func roff(_ section: HelpSection, macro: String) -> String {
        let blocks = section.blocks.enumerated().map { index, block in
            switch block {
            case .text(let text): (index == 0 ? "" : ".PP\n") + line(text)
            case .terms(let terms): terms.map { ".TP\n.B \(quoted($0.name))\n" + line($0.meaning) }.joined()
            case .commands(let lines):
                lines.map { ($0.meaning.isEmpty ? "" : ".PP\n" + line($0.meaning)) + ".PP\n.nf\n\(line($0.name)).fi\n" }.joined()
            }
        }
        // A paragraph right after a heading is ignored with a warning.
        let body = blocks.joined()
        return ".\(macro) \(quoted(section.title))\n" + (body.hasPrefix(".PP\n") ? String(body.dropFirst(4)) : body)
    }

    private static func quoted(_ text: String) -> String { "\"\(escaped(text))\"" }

    /// A line of text; a leading dot or quote would be read as a request.
    private static func line(_ text: String) -> String {
        (text.hasPrefix(".") || text.hasPrefix("'") ? "\\&" : "") + escaped(text) + "\n"
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\\": "\\e"
            case "-": "\\-"
            case "\"": "\\(dq"
            default: String(character)
            }
        }.joined()
    }
}
