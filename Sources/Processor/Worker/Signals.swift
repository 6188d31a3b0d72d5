// Turns SIGTERM and SIGINT into something a task can wait for.

import Dispatch
import Glibc

/// The signals that ask the process to end.
final class Signals: @unchecked Sendable {
    // Licence for @unchecked: the sources are only kept alive here; nobody touches them after `init`.

    private let stream: AsyncStream<Int32>
    private let sources: [any DispatchSourceSignal]

    /// From here on the signals no longer end the process by themselves. SIGPIPE is ignored: a closed socket is an error, not an end.
    init() {
        signal(SIGPIPE, SIG_IGN)
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(4))
        self.stream = stream
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(number) }
            source.resume()
            return source
        }
    }

    /// Waits for the next signal; `nil` where the task was cancelled.
    func next() async -> Int32? { await stream.first { _ in true } }
}
