// Reads a command line by a program's declaration, or says everything that is wrong with it at once.

private import Platform

/// What a right command line asks for.
public enum Parsed: Sendable, Equatable {
    /// Print this text on standard output, and end with 0.
    case text(String)
    /// Do what a command says.
    case invocation(Invocation)
}

/// A command with its options and operands.
public struct Invocation: Sendable, Equatable {
    /// An option as it was given.
    public struct Given: Sendable, Equatable {
        /// With its two dashes.
        public let name: String
        /// Empty for an option that takes no value.
        public let value: String
    }

    /// The command's name; that of the program where it has no commands.
    public let command: String
    /// In the order they were given.
    public let options: [Given]
    /// What is no option.
    public let operands: [String]

    /// The value of an option, `nil` where it was not given.
    public subscript(name: String) -> String? { options.last { $0.name == name }?.value }
}

/// A wrong command line. The description is the whole text for standard error; the exit code is 2.
public struct UsageError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Every fault with its remedy, one a line, and where to find help.
    public let description: String
}

extension Program {
    /// Reads the arguments after the program's name.
    public func parse(_ arguments: [String]) throws(UsageError) -> Parsed {
        guard let first = arguments.first else {
            // A program with commands does nothing by itself.
            guard root.options.isEmpty else { return try parse(arguments[...], root) }
            throw UsageError(description: String(help(nil).dropLast()))
        }
        switch first {
        case "--help", "-h": return .text(help(nil))
        case "--version", "-V", "version": return .text((["\(name) \(version)"] + libraries).map { $0 + "\n" }.joined())
        case _ where first.hasPrefix("-"):
            guard root.options.isEmpty else { return try parse(arguments[...], root) }
            let owners = commands.filter { $0.options.contains { $0.name == Self.split(first).name } }.map(\.name)
            throw error(
                owners.isEmpty
                    ? ["\(name) has no option \(first)"]
                    : ["\(first) stands after its command: \(name) \(Self.listed(owners)) \(first)"], nil)
        default:
            guard let command = commands.first(where: { $0.name == first }) else {
                let hint = Nearest.name(to: first, among: visible.map(\.name))
                throw error(["\(name) has no command \(first)" + (hint.map { "; did you mean \($0)?" } ?? "")], nil)
            }
            let parsed = try parse(arguments.dropFirst(), command)
            guard !isOwn(command), case .invocation(let invocation) = parsed else { return parsed }
            return .text(builtIn(invocation))
        }
    }

    /// The error of a command line whose options do not fit together.
    public func error(_ faults: [String], _ command: String?) -> UsageError {
        let help = command.map { "\(name) help \($0)" } ?? "\(name) --help"
        return UsageError(description: (faults.map { "\(name): \($0)" } + ["See: \(help)"]).joined(separator: "\n"))
    }

    private func builtIn(_ invocation: Invocation) -> String {
        switch invocation.command {
        case "help": help(commands.first { $0.name == invocation.operands.first })
        case "man": manPage
        default: completion(Shell(rawValue: invocation.operands.first ?? "") ?? .bash)
        }
    }

    private static func split(_ argument: String) -> (name: String, value: String?) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return (parts[0], parts.count > 1 ? parts[1] : nil)
    }

    private func parse(_ arguments: ArraySlice<String>, _ command: Command) throws(UsageError) -> Parsed {
        var options: [Invocation.Given] = []
        var operands: [String] = []
        var faults: [String] = []
        var rest = arguments
        while let argument = rest.popFirst() {
            if argument == "--help" || argument == "-h" { return .text(help(command.name == name ? nil : command)) }
            if argument == "--" {
                operands += rest
                break
            }
            guard argument.hasPrefix("-"), argument != "-" else {
                operands.append(argument)
                continue
            }
            let (name, attached) = Self.split(argument)
            guard let option = command.options.first(where: { $0.name == name }) else {
                faults.append(unknown(name, command))
                // The value of an option that is not known is no operand.
                if attached == nil, command.operand == nil, rest.first?.hasPrefix("-") == false { _ = rest.popFirst() }
                continue
            }
            var value = ""
            if option.value == nil {
                if attached != nil { faults.append("\(name) takes no value") }
            } else if let found = attached ?? (rest.first?.hasPrefix("--") == true ? nil : rest.popFirst()) {
                value = found
                if let expected = option.expected(found) { faults.append("\(name) must be \(expected), is \"\(found)\"") }
            } else {
                faults.append("\(name) needs a value: \(option.usage)")
            }
            if !option.isRepeatable, options.contains(where: { $0.name == name }) {
                faults.append("\(name) is given twice; keep one of them")
            }
            options.append(Invocation.Given(name: name, value: value))
        }
        for option in command.options {
            guard let needs = option.needs, options.contains(where: { $0.name == option.name }) else { continue }
            if !options.contains(where: { $0.name == needs }) { faults.append("\(option.name) has no effect without \(needs)") }
        }
        faults += self.faults(of: operands, command)
        guard faults.isEmpty else { throw error(faults, command.name == name || !isOwn(command) ? nil : command.name) }
        return .invocation(Invocation(command: command.name, options: options, operands: operands))
    }

    private func unknown(_ option: String, _ command: Command) -> String {
        let fault = "\(title(command)) has no option \(option)"
        if let nearest = Nearest.name(to: option, among: command.options.map(\.name)) {
            return "\(fault); did you mean \(nearest)?"
        }
        let owners = commands.filter { $0.options.contains { $0.name == option } }.map { title($0) }
        return owners.isEmpty ? fault : "\(fault); it belongs to \(Self.listed(owners))"
    }

    private func faults(of operands: [String], _ command: Command) -> [String] {
        guard let operand = command.operand else {
            return operands.map { "\(title(command)) does not take the argument \($0)" }
        }
        if operands.isEmpty, !operand.hasPrefix("["), !operand.hasSuffix("...") {
            return ["\(title(command)) needs \(operand)" + (command.choices.isEmpty ? "" : ": \(Self.listed(command.choices))")]
        }
        if operands.count > 1, !operand.hasSuffix("...") {
            return operands.dropFirst().map { "\(title(command)) does not take a second argument \($0)" }
        }
        return operands.filter { !command.choices.isEmpty && !command.choices.contains($0) }.map { wrong in
            let hint = Nearest.name(to: wrong, among: command.choices).map { "did you mean \($0)?" }
            return "\(title(command)) does not know \(wrong); \(hint ?? "it takes \(Self.listed(command.choices))")"
        }
    }
}
