// Owns where log lines go: one write a line, so that lines of several processes on one pipe do not mix.

import Glibc
import Synchronization

/// Takes finished log lines. Several threads may call it at once.
public protocol LogSink: Sendable {
    /// Takes one line as UTF-8, with the newline that ends it.
    func write(_ line: [UInt8])
}

/// Writes lines to a file descriptor, which stays its owner's to close.
///
/// A line that cannot be written (nobody reads the pipe any more, the disk is full) is dropped and counted: a worker does not
/// stop for its log. A descriptor that blocks makes the caller wait, as standard error does everywhere.
public final class DescriptorLogSink: LogSink {
    /// Standard error, where logs belong.
    public static let standardError = DescriptorLogSink(descriptor: STDERR_FILENO)

    private let descriptor: Int32
    private let lock = Mutex(())
    private let dropped = Atomic<Int>(0)

    /// - Parameter descriptor: open for writing as long as lines come.
    public init(descriptor: Int32) { self.descriptor = descriptor }

    /// Lines that could not be written, wholly or in part.
    public var droppedLines: Int { dropped.load(ordering: .relaxed) }

    /// Writes the line; short writes are continued before another line may begin.
    public func write(_ line: [UInt8]) {
        let isWritten = lock.withLock { _ in
            line.withUnsafeBytes { bytes in
                var done = 0
                while done < bytes.count {
                    let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                    if count > 0 {
                        done += count
                    } else if count < 0 && errno == EAGAIN {
                        // Somebody made the descriptor non-blocking: give the reader a moment, then do without the line.
                        var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        if poll(&state, 1, 10) <= 0 && errno != EINTR { return false }
                    } else if count == 0 || errno != EINTR {
                        return false
                    }
                }
                return true
            }
        }
        if !isWritten { dropped.wrappingAdd(1, ordering: .relaxed) }
    }
}
