// Holds the jobs of a schedule's tasks until its driver runs one of them.

import Glibc

/// A task executor that runs nothing by itself: jobs wait in a list, and the driver's thread takes the one that the seed names.
final class SeededExecutor: TaskExecutor, @unchecked Sendable {
    // Licence for @unchecked: used on the driver's thread only, which every entry checks. A job that comes from another thread has
    // escaped to some executor that is not this one, and nothing a seed says would hold any more.

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

    /// Runs the job at this place in the order of arrival.
    func run(at index: Int) {
        requireDriver()
        precondition(!isRunning, "a job runs inside another one")
        let job = ready.remove(at: index)
        isRunning = true
        executed += 1
        job.runSynchronously(on: asUnownedTaskExecutor())
        isRunning = false
    }

    /// Ends the process where somebody else's thread is here.
    func requireDriver() {
        precondition(pthread_self() == driver, "a job of the pipeline has escaped from the driver's thread")
    }
}
