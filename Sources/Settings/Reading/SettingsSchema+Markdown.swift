// Owns the page that documents every key, generated from the declarations.

extension SettingsSchema {
    /// Every key in a Markdown table, one table a section under the section's help.
    public var markdown: String {
        var headings = [(path: "", help: section.help)]
        headings += section.keys.flatMap { $0.headings("") }
        var page = ""
        for heading in headings {
            let rows = keys.filter { owner(of: $0.path, among: headings.map(\.path)) == heading.path }
            if rows.isEmpty && heading.help.isEmpty { continue }
            page += heading.path.isEmpty ? "" : "## `\(heading.path)`\n\n"
            page += heading.help.isEmpty ? "" : Filled.lines(heading.help, columns: 110).joined(separator: "\n") + "\n\n"
            guard !rows.isEmpty else { continue }
            page += "| Key | Meaning | Type | Allowed | Default | A change applies |\n| --- | --- | --- | --- | --- | --- |\n"
            for key in rows { page += row(key) }
            page += "\n"
        }
        return page
    }

    private func row(_ key: KeyDescription) -> String {
        let type = key.unit.map { "\(key.type) (\($0))" } ?? key.type
        let standard = key.defaultText.map { "`\($0)`" } ?? "none, must be set"
        let applies = key.reload == .live ? "live" : "at restart"
        let cells = ["`\(key.path)`", key.help, type, key.bounds, standard, applies]
        return "| "
            + cells.map { $0.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|") }
            .joined(separator: " | ") + " |\n"
    }

    /// The innermost section a key lies in.
    private func owner(of key: String, among sections: [String]) -> String {
        sections.filter { $0.isEmpty || key.hasPrefix($0 + ".") }.max { $0.count < $1.count } ?? ""
    }
}
