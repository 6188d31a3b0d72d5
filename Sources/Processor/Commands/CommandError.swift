// Owns the error a command ends with, and the exit codes.

import Settings

/// Exit codes of the program.
enum ExitCode {
    static let failure: Int32 = 1
    static let usage: Int32 = 2
    /// EX_CONFIG of sysexits.h: a supervisor need not try again.
    static let configuration: Int32 = 78
}

/// Why a command failed, and the remedy.
struct CommandError: Error, CustomStringConvertible {
    let description: String
    let exitCode: Int32

    init(_ description: String, exitCode: Int32 = ExitCode.failure) {
        self.description = description
        self.exitCode = exitCode
    }

    /// What any error means for the process.
    init(_ error: any Error) {
        switch error {
        case let error as CommandError: self = error
        case let error as SettingsFaults: self.init(error.description, exitCode: ExitCode.configuration)
        default: self.init("\(error)")
        }
    }
}
