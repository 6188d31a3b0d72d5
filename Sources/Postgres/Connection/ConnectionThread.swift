// The thread a connection lives on, and the mailbox by which work reaches it.

internal import CPq
internal import Dispatch
internal import Glibc
internal import Synchronization

/// Work for a connection's thread.
typealias ConnectionJob = @Sendable (PostgresSession) -> Void

/// The shared side of a connection's thread: everybody may post, the thread takes.
final class ConnectionMailbox: Sendable {
    private struct State {
        var jobs: [ConnectionJob] = []
        var isClosed = false
        var hasEnded = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    /// Counts what there is to take: one for each job, one for the end.
    private let available = DispatchSemaphore(value: 0)

    /// Posts a job. `false`: the mailbox is closed and the job will never run.
    func post(_ job: @escaping ConnectionJob) -> Bool {
        let accepted = state.withLock { state in
            if state.isClosed { return false }
            state.jobs.append(job)
            return true
        }
        if accepted { available.signal() }
        return accepted
    }

    /// Accepts no more jobs. Those posted before are still run.
    func close() {
        let first = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        if first { available.signal() }
    }

    /// Blocks the connection's thread until there is a job; `nil`: there will be none any more.
    func take() -> ConnectionJob? {
        available.wait()
        return state.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
    }

    /// The thread has let go of the connection.
    func ended() {
        let waiters = state.withLock { state in
            state.hasEnded = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Waits for ``ended()``.
    func waitForEnd() async {
        await withCheckedContinuation { waiter in
            let over = state.withLock { state in
                if !state.hasEnded { state.waiters.append(waiter) }
                return state.hasEnded
            }
            if over { waiter.resume() }
        }
    }
}

/// Starts a detached thread of our own that runs `body` with all asynchronous signals blocked, so that they reach the threads that
/// wait for them.
func startThread(named name: String, _ body: @escaping @Sendable () -> Void) throws(PostgresError) {
    final class Box {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    let box = Unmanaged.passRetained(Box(name, body))
    var thread = pthread_t()
    let result = pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            // Takes over the reference that `startThread` retained.
            let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
            var signals = sigset_t()
            sigfillset(&signals)
            for synchronous in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { sigdelset(&signals, synchronous) }
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            sluice_name_this_thread(box.name)
            box.body()
            return nil
        }, box.toOpaque())
    guard result == 0 else {
        box.release()
        throw PostgresError(
            .configuration,
            "no thread for a connection: \(String(cString: strerror(result))); raise the limit of processes (ulimit -u)")
    }
    pthread_detach(thread)
}
