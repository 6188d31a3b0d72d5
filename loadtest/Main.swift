// The executable's way in: command line, signals, exit codes.

import Glibc
import Synchronization
import Telemetry

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
/// report follow; another one ends the process.
enum Interrupt {
    /// When the first one came, in nanoseconds; 0: none.
    private static let firstAt = Atomic<UInt64>(0)
    /// Programs like timeout(1) signal the process and then its whole group: what comes so soon is the same wish.
    private static let sameWish: UInt64 = 500_000_000

    /// Somebody asked for the end.
    static var wasRequested: Bool { firstAt.load(ordering: .relaxed) != 0 }

    /// Starts to listen.
    static func listen() {
        // Touched here, so that nothing has to be set up inside the handler.
        firstAt.store(0, ordering: .relaxed)
        // Only the clock, an atomic and _exit are used inside: all are allowed there (signal-safety(7)).
        let handler: @convention(c) (Int32) -> Void = { number in
            let now = MonotonicClock.nanoseconds()
            let first = Interrupt.firstAt.compareExchange(expected: 0, desired: now, ordering: .relaxed)
            if !first.exchanged, now - first.original > Interrupt.sameWish { _exit(128 + number) }
        }
        signal(SIGINT, handler)
        signal(SIGTERM, handler)
        signal(SIGPIPE, SIG_IGN)
    }
}
