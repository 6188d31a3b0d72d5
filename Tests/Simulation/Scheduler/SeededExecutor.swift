// Holds the jobs of a schedule's tasks until the driver runs one of them.

import Glibc

/// A task executor that runs nothing by itself: jobs wait in a list, and the driver's thread runs the one that the seed selects.
final class SeededExecutor: TaskExecutor, @unchecked Sendable {
    // Licence for @unchecked: used on the driver's thread only, which every entry checks. A job from another thread has escaped to
    // another executor, and the seed would no longer decide the schedule.

    private let driver = pthread_self()
    private var ready: [UnownedJob] = []
    /// A job is running: the only time at which the pipeline may call a port.
    private(set) var isRunning = false
    /// Jobs that were run.
    private(set) var executed = 0

    var readyCount: Int { ready.count }

    func enqueue(_ job: consuming ExecutorJob) {
        requireDriver()
        ready.append(UnownedJob(job))
    }

    /// Runs the job at this index in the order of arrival.
    func run(at index: Int) {
        requireDriver()
        precondition(!isRunning, "a job runs inside another one")
        let job = ready.remove(at: index)
        isRunning = true
        executed += 1
        job.runSynchronously(on: asUnownedTaskExecutor())
        isRunning = false
    }

    /// Ends the process if another thread calls.
    func requireDriver() {
        precondition(pthread_self() == driver, "a job of the pipeline has escaped from the driver's thread")
    }
}
