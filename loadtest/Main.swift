// The executable's way in: command line, signals, exit codes.

import Glibc
import Synchronization

@main
struct Main {
    @MainActor
    static func main() async {
        do throws(LoadError) {
            switch try Command.parse(Array(CommandLine.arguments.dropFirst())) {
            case .help:
                print(Command.helpText)
            case .run(let options):
                Interrupt.listen()
                exit(try await Run.make(options))
            }
        } catch {
            standardError("sluice-loadtest: \(error)")
            exit(error.code == .usage ? 2 : 1)
        }
    }
}

/// The wish to end the load early: the first SIGINT or SIGTERM ends the schedule and lets the answers, the verification and the
/// report follow; the second ends the process.
enum Interrupt {
    private static let requested = Atomic<Bool>(false)

    /// Somebody asked for the end.
    static var wasRequested: Bool { requested.load(ordering: .relaxed) }

    /// Starts to listen.
    static func listen() {
        // Only an atomic store and resetting the handler happen inside: both are allowed there (signal-safety(7)).
        let handler: @convention(c) (Int32) -> Void = { number in
            Interrupt.requested.store(true, ordering: .relaxed)
            signal(number, SIG_DFL)
        }
        signal(SIGINT, handler)
        signal(SIGTERM, handler)
        signal(SIGPIPE, SIG_IGN)
    }
}
