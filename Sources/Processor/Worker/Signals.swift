// Delivers SIGTERM, SIGINT and SIGHUP to tasks; a second SIGTERM or SIGINT ends the process.

import Dispatch
import Glibc
import Synchronization
import Telemetry

/// The signals that the process handles.
final class Signals: @unchecked Sendable {
    // Licence for @unchecked: the sources are only kept alive here and not used after `init`.

    /// One element for each SIGHUP; several that arrive before the reader is ready are one. For one reader.
    let hangups: AsyncStream<Void>
    private let stream: AsyncStream<Int32>
    private let sources: [any DispatchSourceSignal]
    /// A thread of its own: the second signal must end the process also while every other thread waits for a server.
    private let queue = DispatchQueue(label: "sluice.signals")

    /// Programs such as timeout(1) signal the process and then its group: signals that come this soon count as one.
    private static let repetition = Duration.milliseconds(500)

    /// Replaces the default reactions to the signals. SIGPIPE is ignored: writing to a closed socket is an error of the write.
    init(logger: Logger) {
        signal(SIGPIPE, SIG_IGN)
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(4))
        let (hangups, hangup) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.stream = stream
        self.hangups = hangups
        let first = Mutex<ContinuousClock.Instant?>(nil)
        sources = [SIGTERM, SIGINT, SIGHUP].map { [queue] number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                guard number != SIGHUP else {
                    hangup.yield()
                    return
                }
                let now = ContinuousClock.now
                let begun = first.withLock { first in
                    first = first ?? now
                    return first ?? now
                }
                if now - begun >= Self.repetition {
                    logger.warning("Second signal: the process ends at once.", ["signal": Self.name(number)])
                    endProcess(128 + number)
                }
                continuation.yield(number)
            }
            source.resume()
            return source
        }
    }

    /// Waits for the first SIGTERM or SIGINT; `nil` where the task was cancelled.
    func next() async -> Int32? { await stream.first { _ in true } }

    /// `SIGINT` or `SIGTERM`.
    static func name(_ number: Int32) -> String { number == SIGINT ? "SIGINT" : "SIGTERM" }
}
