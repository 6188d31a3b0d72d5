// Writes finished log lines to a file descriptor, one write a line, so that lines of several processes on one pipe do not mix.

import Glibc
import Synchronization

/// Takes finished log lines. Several threads may call it at once.
public protocol LogSink: Sendable {
    /// Takes one line as UTF-8, with its newline.
    func write(_ line: [UInt8])
}

/// Writes lines to a file descriptor, which it does not close.
///
/// A line that cannot be written (broken pipe, full disk) is dropped. A descriptor that blocks makes the caller wait.
public final class DescriptorLogSink: LogSink {
    /// Standard error.
    public static let standardError = DescriptorLogSink(descriptor: STDERR_FILENO)

    private let descriptor: Int32
    private let lock = Mutex(())

    /// - Parameter descriptor: open for writing as long as this sink is used.
    public init(descriptor: Int32) { self.descriptor = descriptor }

    /// Writes the line; a short write is continued before another line begins.
    public func write(_ line: [UInt8]) {
        lock.withLock { _ in
            line.withUnsafeBytes { bytes in
                var done = 0
                while done < bytes.count {
                    let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                    if count > 0 {
                        done += count
                    } else if count < 0 && errno == EAGAIN {
                        // The descriptor is non-blocking and its pipe full: wait 10 ms for the reader, then drop the line.
                        var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        if poll(&state, 1, 10) <= 0 && errno != EINTR { return }
                    } else if count == 0 || errno != EINTR {
                        return
                    }
                }
            }
        }
    }
}
