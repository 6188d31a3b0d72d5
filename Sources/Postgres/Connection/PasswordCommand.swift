// Runs the program whose output is the password.

internal import Platform

/// `postgres.password_command`: a program and its arguments, at least one word.
struct PasswordCommand {
    private let program: SecretProgram

    init(_ words: [String]) { program = SecretProgram(words) }

    /// What the program prints, without a line break at its end. Blocks until it has ended; at the deadline it is killed, with its children.
    /// - Parameter deadline: monotonic nanoseconds.
    func password(deadline: UInt64, timeout: Duration, interrupt: borrowing InterruptHandle) throws(PostgresError) -> String {
        let name = "postgres.password_command \(program.name)"
        let password: String
        do throws(SecretProgram.Failure) {
            password = try program.output(deadline: deadline, timeout: timeout, interrupt: interrupt.descriptor)
        } catch {
            switch error {
            case .interrupted: throw .closed("connecting was cancelled by its owner")
            case .late: throw PostgresError(.timeout, "\(name) \(error)")
            default: throw PostgresError(.connection, "\(name) \(error)")
            }
        }
        guard !password.isEmpty else { throw PostgresError(.connection, "\(name) has printed no password") }
        guard !password.utf8.contains(UInt8(ascii: "\n")) else {
            throw PostgresError(.connection, "\(name) has printed more than one line")
        }
        return password
    }
}
