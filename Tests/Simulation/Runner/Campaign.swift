// Runs many schedules on several threads, each with its own driver, and stops at the first violation.

import Glibc
import Synchronization

/// Runs seeds from the first on, until enough ran, one failed, or time is up.
final class Campaign: Sendable {
    private struct Total {
        var done: UInt64 = 0
        var jobs = 0
        var coverage = Coverage()
        var calm: UInt64 = 0
        var failure: (seed: UInt64, sentence: String)?
    }

    /// One schedule in so many is run twice: the same seed must give the same transcript.
    private static let doubleCheck: UInt64 = 100
    /// Seconds after which a single schedule counts as hung.
    private static let hungAfter: UInt64 = 60

    private let options: Options
    private let next: Atomic<UInt64>
    private let isOver = Atomic(false)
    private let running: Atomic<Int>
    private let total = Mutex(Total())

    init(_ options: Options) {
        self.options = options
        next = Atomic(0)
        running = Atomic(Int(options.threads))
    }

    /// The process's exit status: 0 only where all schedules ran in time without a violation.
    func run() -> Int32 {
        print("simulate: \(options.schedules) schedules from seed \(options.from), \(options.threads) at a time")
        fflush(nil)
        let begun = Self.seconds()
        let threads = (0..<Int(options.threads)).map { start($0) }
        watch(since: begun)
        for thread in threads { pthread_join(thread, nil) }
        let passed = Swift.max(0.001, Self.seconds() - begun)
        let total = self.total.withLock { $0 }
        if let failure = total.failure {
            print("simulate: seed \(failure.seed): \(failure.sentence)")
            let number = failure.seed &- options.from + 1
            print("simulate: found by schedule \(number); replay it with: scripts/simulate --seed \(failure.seed)")
            return 1
        }
        let rate = Int(Double(total.done) / passed)
        print(
            "simulate: \(total.done) schedules, \(total.jobs) jobs in \(Int(passed)) s (\(rate)/s), nothing found;",
            "the longest calm \(total.calm / millisecond) ms")
        print("simulate: met " + Met.allCases.map { "\($0) \(total.coverage[$0])" }.joined(separator: ", "))
        if let missing = Met.allCases.first(where: { total.coverage[$0] == 0 }), options.schedules >= 10_000 {
            print("simulate: no schedule has met \(missing): the simulation does not do what it is for")
            return 1
        }
        guard total.done >= options.schedules else {
            print(
                "simulate: only \(total.done) of \(options.schedules) schedules ran in \(options.seconds) s: too few to say anything"
            )
            return 1
        }
        return 0
    }

    private func start(_ slot: Int) -> pthread_t {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Work { [self] in work(slot) })
        let status = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, context.toOpaque())
        precondition(status == 0, "no thread for the simulation: \(status)")
        return thread
    }

    private final class Work {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    private func work(_ slot: Int) {
        while !isOver.load(ordering: .relaxed) {
            let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard number < options.schedules else { break }
            let seed = options.from &+ number
            CrashNote.begin(slot: slot, seed: seed)
            let report = Simulation.run(seed: seed)
            var sentence = report.violation
            if sentence == nil, number % Self.doubleCheck == 0, Simulation.run(seed: seed).hash != report.hash {
                sentence = "the same seed has led to two transcripts: something in the pipeline is not decided by the seed"
            }
            total.withLock { total in
                if let sentence, total.failure == nil { total.failure = (seed, sentence) }
                if sentence == nil { total.done += 1 }
                total.jobs += report.jobs
                total.coverage.add(report.coverage)
                total.calm = Swift.max(total.calm, report.calm)
            }
            if sentence != nil { isOver.store(true, ordering: .relaxed) }
        }
        CrashNote.end(slot: slot)
        running.subtract(1, ordering: .releasing)
    }

    /// Ends the others when time is up, and the process when one of them hangs.
    private func watch(since begun: Double) {
        while running.load(ordering: .acquiring) > 0 {
            usleep(20_000)
            if options.seconds > 0, Self.seconds() - begun >= Double(options.seconds) { isOver.store(true, ordering: .relaxed) }
            if let seed = CrashNote.oldest(slots: Int(options.threads), olderThan: Self.hungAfter) {
                print("simulate: seed \(seed): a job does not end; replay it with: scripts/simulate --seed \(seed)")
                exit(1)
            }
        }
    }

    private static func seconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
