// Turns the signals for ending and for reading the configuration again into something a task can wait for.

import Dispatch
import Glibc

/// The signals that ask the process for something.
final class Signals: @unchecked Sendable {
    // Licence for @unchecked: the sources are only kept alive here; nobody touches them after `init`.

    /// One element for each SIGHUP, or for several that came while nobody looked. For one reader.
    let hangups: AsyncStream<Void>
    private let stream: AsyncStream<Int32>
    private let sources: [any DispatchSourceSignal]

    /// From here on the signals no longer end the process by themselves. SIGPIPE is ignored: a closed socket is an error, not an end.
    init() {
        signal(SIGPIPE, SIG_IGN)
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(4))
        let (hangups, hangup) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.stream = stream
        self.hangups = hangups
        sources = [SIGTERM, SIGINT, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                if number == SIGHUP { hangup.yield() } else { continuation.yield(number) }
            }
            source.resume()
            return source
        }
    }

    /// Waits for the next signal that asks for the end; `nil` where the task was cancelled.
    func next() async -> Int32? { await stream.first { _ in true } }
}
