// Starts the program: command line, signals, exit codes.

import CommandLine
import Glibc
import Platform
import Synchronization

@main
struct Main {
    @MainActor
    static func main() async {
        do {
            switch try Command.parse(Array(CommandLine.arguments.dropFirst())) {
            case .print(let text): print(text, terminator: "")
            case .run(let options):
                Interrupt.listen()
                exit(try await Run.make(options))
            }
        } catch let error as UsageError {
            standardError(error.description)
            exit(2)
        } catch {
            standardError("sluice-loadtest: \(error)")
            exit(1)
        }
    }
}

/// Ends the load at the first SIGINT or SIGTERM: answers, verification and report still follow. A second one ends the process.
enum Interrupt {
    /// Time of the first signal in nanoseconds; 0: none came.
    private static let firstAt = Atomic<UInt64>(0)
    /// Programs such as timeout(1) signal the process and then its group: signals that come this soon count as one.
    private static let repetition: UInt64 = 500_000_000

    static var wasRequested: Bool { firstAt.load(ordering: .relaxed) != 0 }

    /// Installs the handlers.
    static func listen() {
        // Initialises the static before the handler needs it.
        firstAt.store(0, ordering: .relaxed)
        // The handler uses only the clock, an atomic and _exit, which signal-safety(7) allows.
        let handler: @convention(c) (Int32) -> Void = { number in
            let now = MonotonicClock.nanoseconds()
            let first = Interrupt.firstAt.compareExchange(expected: 0, desired: now, ordering: .relaxed)
            if !first.exchanged, now - first.original > Interrupt.repetition { _exit(128 + number) }
        }
        signal(SIGINT, handler)
        signal(SIGTERM, handler)
        signal(SIGPIPE, SIG_IGN)
    }
}
