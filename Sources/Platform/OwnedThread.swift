// Starts threads for calls that block.

import Glibc

/// Threads outside Swift's cooperative pool, on which a call may block.
public enum OwnedThread {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Runs `body` on a new detached thread.
    ///
    /// All signals but those of faults are blocked on it, so that they reach the threads that wait for them, and a broken
    /// connection's SIGPIPE reaches none.
    /// - Parameter name: what `top -H` shows; at most 15 bytes.
    public static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let body = Unmanaged.passRetained(Body(name: name, run: body))
        // The new thread inherits the mask.
        var blocked = allButFaults()
        var previous = sigset_t()
        pthread_sigmask(SIG_SETMASK, &blocked, &previous)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                // Takes over the reference that `start` retained.
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                // Without the type's name Swift 6.3 crashes here.
                OwnedThread.nameThisThread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        pthread_sigmask(SIG_SETMASK, &previous, nil)
        guard code == 0 else {
            body.release()
            throw SystemError(code)
        }
        pthread_detach(thread)
    }

    private static func allButFaults() -> sigset_t {
        var signals = sigset_t()
        sigfillset(&signals)
        for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { sigdelset(&signals, fault) }
        return signals
    }

    /// Swift's Glibc module has neither `pthread_setname_np` nor the variadic `prctl`. Without `/proc` the thread has no name.
    private static func nameThisThread(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        _ = write(file, name, min(name.utf8.count, 15))
    }
}
