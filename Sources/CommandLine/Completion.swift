// Renders a program's declaration as completion scripts.

/// A shell with programmable completion.
enum Shell: String, CaseIterable {
    case bash, zsh, fish
}

extension Program {
    func completion(_ shell: Shell) -> String {
        switch shell {
        case .bash: bash
        case .zsh: zsh
        case .fish: fish
        }
    }

    private var function: String { "_" + name.map { $0 == "-" ? "_" : String($0) }.joined() }
    /// Where options can stand: the program itself, or its commands.
    private var scopes: [Command] { [root] + visible }

    private var bash: String {
        var values = ""
        for scope in scopes {
            for option in scope.options {
                let candidates = option.value == "FILE" ? "-f" : "-W '\(option.choices.joined(separator: " "))'"
                guard option.value != nil else { continue }
                values +=
                    "    '\(scope.name) \(option.name)') mapfile -t COMPREPLY < <(compgen \(candidates) -- \"$word\"); return ;;\n"
            }
        }
        let words = scopes.map { scope in
            let extra = scope.name == name ? visible.map(\.name) + ["--help", "--version"] : scope.choices + ["--help"]
            return "    \(scope.name)) words='\((scope.options.map(\.name) + extra).joined(separator: " "))' ;;\n"
        }
        return """
            # bash completion of \(name); made by: \(name) completion bash
            \(function)() {
                local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=\(name) words=''
                [[ $word != '=' ]] || word=''
                [[ $previous != '=' ]] || previous=${COMP_WORDS[COMP_CWORD - 2]}
                if ((COMP_CWORD > 1)) && [[ ${COMP_WORDS[1]} != -* ]]; then command=${COMP_WORDS[1]}; fi
                case "$command $previous" in
            \(values)    esac
                case $command in
            \(words.joined())    esac
                mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
            }
            complete -o filenames -F \(function) \(name)

            """
    }

    private var zsh: String {
        func quoted(_ text: String) -> String {
            "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        }
        func plain(_ text: String) -> String { text.map { "[]:\\".contains($0) ? "\\\($0)" : String($0) }.joined() }
        func specs(_ scope: Command) -> String {
            let options = scope.options.map { option in
                let action =
                    option.value == "FILE"
                    ? "_files" : option.choices.isEmpty ? " " : "(\(option.choices.joined(separator: " ")))"
                let value = option.value.map { ":\(plain($0)):\(action)" } ?? ""
                return (option.isRepeatable ? "'*'" : "")
                    + quoted("\(option.name)\(option.value == nil ? "" : "=")[\(plain(option.help))]\(value)")
            }
            let operand =
                scope.choices.isEmpty ? [] : [quoted("1:\(plain(scope.operand ?? "")):(\(scope.choices.joined(separator: " ")))")]
            return (options + operand + [quoted("--help[Print this help.]")]).joined(separator: " ")
        }
        let cases = visible.map { "    \($0.name)) _arguments \(specs($0)) ;;\n" }
        return """
            #compdef \(name)
            # zsh completion of \(name); made by: \(name) completion zsh
            \(function)() {
                local -a commands
                commands=(\(visible.map { quoted("\($0.name):\($0.summary)") }.joined(separator: " ")))
                if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
                    _describe command commands
                    return
                fi
                if [[ $words[2] == -* ]]; then
                    _arguments \(specs(root))
                    return
                fi
                local command=$words[2]
                shift words
                ((CURRENT--))
                case $command in
            \(cases.joined())    esac
            }
            if [[ $funcstack[1] == \(function) ]]; then \(function) "$@"; else compdef \(function) \(name); fi

            """
    }

    private var fish: String {
        func quoted(_ text: String) -> String { "'" + text.map { "'\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "'" }
        var lines = ["# fish completion of \(name); made by: \(name) completion fish", "complete -c \(name) -f"]
        for command in visible {
            lines.append("complete -c \(name) -n __fish_use_subcommand -a \(command.name) -d \(quoted(command.summary))")
        }
        for scope in scopes {
            let condition = scope.name == name ? "__fish_use_subcommand" : quoted("__fish_seen_subcommand_from \(scope.name)")
            if !scope.choices.isEmpty {
                lines.append("complete -c \(name) -n \(condition) -a \(quoted(scope.choices.joined(separator: " ")))")
            }
            for option in scope.options {
                let value =
                    option.value == nil
                    ? "" : option.value == "FILE" ? " -r -F" : " -x -a \(quoted(option.choices.joined(separator: " ")))"
                lines.append(
                    "complete -c \(name) -n \(condition) -l \(option.name.dropFirst(2))\(value) -d \(quoted(option.help))")
            }
            lines.append("complete -c \(name) -n \(condition) -s h -l help -d 'Print this help.'")
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
