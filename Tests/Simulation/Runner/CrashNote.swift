// Keeps which thread runs which seed, so that the seed is printed when a precondition ends the process.

import Glibc
import Synchronization

enum CrashNote {
    /// The most threads.
    static let slots = 64

    private struct Slot: ~Copyable {
        let thread = Atomic<UInt>(0)
        let seed = Atomic<UInt64>(0)
        let since = Atomic<UInt64>(0)
    }

    // Never freed, and written through atomics only, because a signal handler reads it.
    nonisolated(unsafe) private static let table: UnsafeMutablePointer<Slot> = {
        let table = UnsafeMutablePointer<Slot>.allocate(capacity: slots)
        for index in 0..<slots { (table + index).initialize(to: Slot()) }
        return table
    }()

    /// Prints the seed when a trap ends the process.
    static func install() {
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
            signal(number) { number in
                CrashNote.say()
                // The same instruction again, now without a handler.
                signal(number, SIG_DFL)
                if number == SIGABRT { raise(number) }
            }
        }
    }

    static func begin(slot: Int, seed: UInt64) {
        table[slot].seed.store(seed, ordering: .relaxed)
        table[slot].since.store(now(), ordering: .relaxed)
        table[slot].thread.store(UInt(pthread_self()), ordering: .relaxed)
    }

    static func end(slot: Int) {
        table[slot].since.store(0, ordering: .relaxed)
        table[slot].thread.store(0, ordering: .relaxed)
    }

    /// A seed that has been running for at least so many seconds.
    static func oldest(slots: Int, olderThan seconds: UInt64) -> UInt64? {
        for index in 0..<slots {
            let since = table[index].since.load(ordering: .relaxed)
            if since > 0, now() > since + seconds { return table[index].seed.load(ordering: .relaxed) }
        }
        return nil
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec)
    }

    /// Async-signal-safe: allocates nothing and locks nothing.
    private static func say() {
        let me = UInt(pthread_self())
        for index in 0..<slots where table[index].thread.load(ordering: .relaxed) == me {
            write("simulate: the process ends in this schedule; replay it with: scripts/simulate --seed ")
            write(number: table[index].seed.load(ordering: .relaxed))
            write("\n")
        }
    }

    private static func write(_ text: StaticString) { _ = Glibc.write(2, text.utf8Start, text.utf8CodeUnitCount) }

    private static func write(number: UInt64) {
        var divisor: UInt64 = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            var digit = UInt8(48 + number / divisor % 10)
            _ = Glibc.write(2, &digit, 1)
            divisor /= 10
        }
    }
}
