// Proves that a declared command line is parsed, explained and completed as it was declared.

import Foundation
import Testing

@testable import CommandLine

private let tool = Program(
    version: "1.2",
    root: Program.Command(
        "tool", summary: "Do two things.", text: ["It does them well."], examples: [("tool cut a", "Cut a file.")]),
    commands: [
        Program.Command(
            "cut", summary: "Cut files.", operand: "FILE...",
            options: [
                Program.Option("--at", "N", default: "1", help: "Where to cut.") { Int($0) == nil ? "a whole number" : nil },
                Program.Option("--mode", "MODE", choices: ["fine", "coarse"], help: "It's how [to] cut: well."),
                Program.Option("--log", "FILE", help: "Write a log.", expected: { _ in nil }),
                Program.Option("--append", needs: "--log", help: "Add to the log."),
                Program.Option("--tag", "TAG", isRepeatable: true, help: "A tag."),
            ]),
        Program.Command("paste", summary: "Paste files.", options: [Program.Option("--glue", help: "With glue.")]),
        Program.Command("secret", summary: "Not listed.", isHidden: true),
    ],
    exitCodes: [("0", "Success.")], files: [("tool.conf", "Settings.")], environment: [("TOOL_HOME", "A folder.")])

private func parsed(_ line: String) -> String {
    do {
        switch try tool.parse(line.split(separator: " ").map(String.init)) {
        case .text(let text): return text
        case .invocation(let given):
            let options = given.options.map { "\($0.name)=\($0.value)" }
            return ([given.command] + options + given.operands).joined(separator: "|")
        }
    } catch {
        return error.description
    }
}

@Suite struct ProgramTests {
    @Test(arguments: [
        ("cut a b", "cut|a|b"), ("cut --at 2 a", "cut|--at=2|a"), ("cut --at=2 --mode=fine", "cut|--at=2|--mode=fine"),
        ("cut --log= - -- --at", "cut|--log=|-|--at"), ("cut --at -1", "cut|--at=-1"), ("secret", "secret"),
        ("cut --tag a --tag b", "cut|--tag=a|--tag=b"), ("cut --append --log l", "cut|--append=|--log=l"),
        ("--version", "tool 1.2\n"),
    ])
    func rightLinesAreRead(line: String, expected: String) { #expect(parsed(line) == expected) }

    @Test(arguments: [
        ("cat", "tool: tool has no command cat; did you mean cut?\nSee: tool --help"),
        ("cut --ad 2", "tool: tool cut has no option --ad; did you mean --at?\nSee: tool help cut"),
        ("paste --mode fine", "tool: tool paste has no option --mode; it belongs to tool cut\nSee: tool help paste"),
        ("--glue paste", "tool: --glue stands after its command: tool paste --glue\nSee: tool --help"),
        ("--gluten", "tool: tool has no option --gluten\nSee: tool --help"),
        ("cut -x", "tool: tool cut has no option -x\nSee: tool help cut"),
        ("cut --at", "tool: --at needs a value: --at N\nSee: tool help cut"),
        ("cut --at --append", "tool: --at needs a value: --at N\ntool: --append has no effect without --log\nSee: tool help cut"),
        ("cut --at x", "tool: --at must be a whole number, is \"x\"\nSee: tool help cut"),
        ("cut --mode x", "tool: --mode must be fine or coarse, is \"x\"\nSee: tool help cut"),
        ("cut --at 1 --at 2", "tool: --at is given twice; keep one of them\nSee: tool help cut"),
        ("paste --glue=yes", "tool: --glue takes no value\nSee: tool help paste"),
        ("paste now", "tool: tool paste does not take the argument now\nSee: tool help paste"),
        ("help cute", "tool: tool help does not know cute; did you mean cut?\nSee: tool --help"),
        ("completion", "tool: tool completion needs SHELL: bash, zsh or fish\nSee: tool --help"),
        ("completion csh", "tool: tool completion does not know csh; did you mean zsh?\nSee: tool --help"),
        ("help cut paste", "tool: tool help does not take a second argument paste\nSee: tool --help"),
    ])
    func wrongLinesAreNamedWithTheRemedy(line: String, expected: String) { #expect(parsed(line) == expected) }

    @Test func allFaultsComeAtOnce() {
        #expect(parsed("cut --ad 2 --at x --append").split(separator: "\n").count == 4)
    }

    @Test func helpReadsLikeAManual() {
        #expect(
            parsed("help cut") == """
                Cut files.

                Usage:
                  tool cut [OPTIONS] FILE...

                Options:
                  --at N       Where to cut. Default: 1.
                  --mode MODE  It's how [to] cut: well.
                  --log FILE   Write a log.
                  --append     Add to the log.
                  --tag TAG    A tag.
                  -h, --help   Print this help.

                Exit codes:
                  0  Success.

                Files:
                  tool.conf  Settings.

                Environment:
                  TOOL_HOME  A folder.

                """)
        for line in ["cut --help", "cut -h", "cut a --at 1 --help"] { #expect(parsed(line) == parsed("help cut")) }
        let overview = parsed("--help")
        for line in ["help", "-h"] { #expect(parsed(line) == overview) }
        #expect(parsed("") == overview.dropLast(), "without arguments the help is an error")
        #expect(overview.contains("  # Cut a file.\n  tool cut a\n"))
        for command in ["cut", "paste", "help", "completion"] { #expect(overview.contains("\n  \(command)  ")) }
        #expect(!overview.contains("secret"))
    }

    @Test func longTextsAreFilledToNinetyColumns() {
        let long = Program.Command(
            "x", summary: "X.", text: [String(repeating: "word ", count: 40)],
            options: [
                Program.Option("--a-very-long-option-with-a", "VERY-LONG-VALUE", help: String(repeating: "help ", count: 40))
            ])
        let text = Program(version: "1", root: Program.Command("t", summary: "T."), commands: [long], exitCodes: []).help(long)
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 90 })
        #expect(text.contains("\n  --a-very-long-option-with-a VERY-LONG-VALUE\n                              help help"))
    }

    @Test func theManPageIsSoundRoff() throws {
        let page = tool.manPage
        for part in [
            ".SH NAME\ntool \\- Do two things\n", ".SS \"tool cut [OPTIONS] FILE...\"", ".B \"\\-\\-at N\"",
            ".SH \"EXIT STATUS\"",
        ] {
            #expect(page.replacingOccurrences(of: ".SH \"NAME\"", with: ".SH NAME").contains(part), "\(part)")
        }
        #expect(!page.contains("secret"))
        if let output = try run(["groff", "-man", "-ww", "-z"], input: page) { #expect(output == "") }
    }

    @Test(arguments: Shell.allCases)
    func completionScriptsParse(shell: Shell) throws {
        if let output = try run([shell.rawValue, "-n"], input: tool.completion(shell)) { #expect(output == "") }
    }

    @Test(arguments: [
        ("tool ''", "completion cut help paste"), ("tool pa", "paste"), ("tool cut --m", "--mode"),
        ("tool cut --mode c", "coarse"),
        ("tool cut --mode = f", "fine"), ("tool completion ''", "--help bash fish zsh"), ("tool cut --at ''", ""),
    ])
    func bashCompletes(words: String, expected: String) throws {
        let script =
            tool.completion(.bash)
            + "\nCOMP_WORDS=(\(words)); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tool"
            + "\nprintf '%s\\n' \"${COMPREPLY[@]}\" | grep -v '^--version$\\|^$' | LC_ALL=C sort | paste -sd ' '"
        let output = try #require(try run(["bash"], input: script))
        let found = output.trimmingCharacters(in: .newlines).replacingOccurrences(of: "--help completion", with: "completion")
        #expect(found == expected)
    }
}

/// What a program prints, standard error included; `nil`, with a line that says so, where it is not installed.
private func run(_ command: [String], input: String) throws -> String? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    let output = Pipe()
    // From a file: writing into a pipe that nobody reads would end this process.
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("input-\(UUID().uuidString)")
    try Data(input.utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    process.standardInput = try FileHandle(forReadingFrom: file)
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    if process.terminationStatus == 127 {
        print("SKIPPED: \(command[0]) is not installed")
        return nil
    }
    #expect(process.terminationStatus == 0, "\(String(decoding: data, as: UTF8.self))")
    return String(decoding: data, as: UTF8.self)
}
