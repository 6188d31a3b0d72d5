// Takes finished log lines, and writes them to a file descriptor on a thread of its own.

import Glibc
import Platform
import Synchronization

/// Takes finished log lines. Several threads may call it at once.
public protocol LogSink: Sendable {
    /// Takes one line as UTF-8, with its newline.
    func write(_ line: [UInt8])
}

/// Writes lines to a file descriptor, which it does not close.
///
/// No caller waits for the descriptor: a thread writes the lines in their order, each with one `write(2)`, so that lines of several
/// processes on one pipe do not mix. While that thread waits, because nobody reads the pipe or a terminal was stopped, lines wait in
/// memory, up to a limit; further ones are dropped, and so are lines that cannot be written (broken pipe, full disk). To look before
/// each write would not do: `poll(2)` says of a terminal that one byte fits, and `O_NONBLOCK` would also hold for other processes that
/// share it.
///
/// Lines that still wait when the process is killed or traps are lost; ``flush(within:)`` is for its orderly end.
public final class DescriptorLogSink: LogSink {
    /// Standard error.
    public static let standardError = DescriptorLogSink(descriptor: STDERR_FILENO)

    private let queue: LineQueue

    /// - Parameters:
    ///   - descriptor: open for writing as long as this sink is used.
    ///   - limit: bytes of the lines that may wait.
    public init(descriptor: Int32, limit: Int = 64 << 10) { queue = LineQueue(descriptor: descriptor, limit: limit) }

    deinit { queue.end() }

    /// Hands the line to the thread, or drops it.
    public func write(_ line: [UInt8]) { queue.add(line) }

    /// Waits until the lines so far are written, or for `limit`.
    public func flush(within limit: Duration = .milliseconds(100)) {
        let deadline = MonotonicClock.nanoseconds() + limit.nanoseconds
        while queue.isBusy, MonotonicClock.nanoseconds() < deadline { usleep(500) }
    }

    /// Lines since the start that were dropped.
    public var droppedLines: Int { queue.dropped }
}

/// The lines that wait, and the thread that writes them, from the first line on.
private final class LineQueue: @unchecked Sendable {
    // Licence for @unchecked: `state` is guarded by its lock; a semaphore may be used by all threads (sem_overview(7)), and its memory
    // lives as long as this object, which the thread retains.

    private struct State {
        var lines: [[UInt8]] = []
        var bytes = 0
        var dropped = 0
        var hasThread = false
        var isWriting = false
        var isEnded = false
    }

    private let descriptor: Int32
    private let limit: Int
    private let state = Mutex(State())
    private let wakeUp = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(descriptor: Int32, limit: Int) {
        self.descriptor = descriptor
        self.limit = limit
        sem_init(wakeUp, 0, 0)
    }

    deinit {
        sem_destroy(wakeUp)
        wakeUp.deallocate()
    }

    var isBusy: Bool { state.withLock { $0.isWriting || !$0.lines.isEmpty } }
    var dropped: Int { state.withLock { $0.dropped } }

    func add(_ line: [UInt8]) {
        let hadThread: Bool? = state.withLock { state in
            // A line longer than the limit passes alone.
            guard state.lines.isEmpty || state.bytes + line.count <= limit else {
                state.dropped += 1
                return nil
            }
            state.lines.append(line)
            state.bytes += line.count
            defer { state.hasThread = true }
            return state.hasThread
        }
        guard let hadThread else { return }
        if !hadThread {
            do throws(SystemError) {
                try OwnedThread.start("sluice-log") { self.run() }
            } catch {
                // No thread can be had: the next line tries again.
                state.withLock { $0.hasThread = false }
            }
        }
        sem_post(wakeUp)
    }

    /// Ends the thread once it has written what waits.
    func end() {
        state.withLock { $0.isEnded = true }
        sem_post(wakeUp)
    }

    private func run() {
        while true {
            let (lines, isEnded) = state.withLock { state in
                defer { (state.lines, state.bytes, state.isWriting) = ([], 0, !state.lines.isEmpty) }
                return (state.lines, state.isEnded)
            }
            let lost = lines.count { !write($0) }
            state.withLock { state in
                state.isWriting = false
                state.dropped += lost
            }
            if lines.isEmpty {
                if isEnded { return }
                sem_wait(wakeUp)
            }
        }
    }

    /// Writes the line; a short write is continued.
    /// - Returns: `false` where the descriptor takes nothing any more.
    private func write(_ line: [UInt8]) -> Bool {
        line.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count > 0 {
                    done += count
                } else if count < 0 && errno == EAGAIN {
                    // Somebody has made the descriptor non-blocking.
                    var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    if poll(&state, 1, -1) < 0 && errno != EINTR { return false }
                } else if count == 0 || errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}

extension MetricsRegistry {
    /// Registers the metric of lines that a sink has dropped.
    public func registerLogMetrics(_ sink: DescriptorLogSink = .standardError) {
        collector(
            "sluice_log_lines_dropped_total", type: .counter,
            help: "Log lines that were not written, because nobody reads them or the disk is full."
        ) { $0.sample(sink.droppedLines) }
    }
}
