// Owns the thread of a connection, on which tasks may run, too.

internal import Dispatch
internal import Platform
internal import Synchronization

/// A thread for connections and for tasks that use one. Jobs run one at a time and may block.
///
/// A task that prefers this executor runs on the thread itself, so that a call of its connection needs no wake-up of another thread.
public final class ConnectionThread: TaskExecutor {
    private let mailbox = ConnectionMailbox()

    /// Starts the thread. It ends when this object is released and what was posted has run.
    /// - Parameter name: what `top -H` shows; at most 15 bytes.
    public init(named name: String) throws(PostgresError) {
        do throws(SystemError) {
            try OwnedThread.start(name) { [mailbox] in
                while let job = mailbox.take() { job() }
            }
        } catch {
            throw PostgresError(
                .configuration, "no thread for a connection: \(error); raise the limit of processes (ulimit -u)")
        }
    }

    deinit { mailbox.close() }

    /// Runs a body on the thread, after all that was posted before.
    func post(_ body: @escaping @Sendable () -> Void) { mailbox.post(body) }

    /// Takes a part of a task; called by Swift's runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // The job keeps the executor, and with it the thread.
        mailbox.post { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// A queue of jobs: any thread posts, the connection's thread takes.
private final class ConnectionMailbox: Sendable {
    private struct State {
        // A taken job is replaced by nil, so that what it retains is not released under the lock.
        var jobs: [(@Sendable () -> Void)?] = []
        /// Jobs taken. The array's memory is kept, because a lane posts a dozen jobs a transaction.
        var first = 0
    }

    private let state = Mutex(State())
    /// One for each job, one for the end.
    private let available = DispatchSemaphore(value: 0)

    func post(_ job: @escaping @Sendable () -> Void) {
        state.withLock { $0.jobs.append(job) }
        available.signal()
    }

    /// Ends the queue. What was posted before is still run.
    func close() { available.signal() }

    /// Blocks the thread until there is a job; `nil`: the queue has ended.
    func take() -> (@Sendable () -> Void)? {
        available.wait()
        return state.withLock { state in
            guard state.first < state.jobs.count else { return nil }
            let job = state.jobs[state.first].take()
            state.first += 1
            if state.first == state.jobs.count {
                state.jobs.removeAll(keepingCapacity: true)
                state.first = 0
            }
            return job
        }
    }
}
