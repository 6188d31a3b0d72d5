// Starts threads for librdkafka's blocking calls.

internal import CKafka
internal import Glibc

/// Threads of this module. Swift's cooperative pool never runs a call that may block.
enum OwnedThread {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Runs `body` on a new detached thread.
    /// - Parameter name: what `top -H` shows; at most 15 bytes.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(KafkaError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        let box = Unmanaged.passRetained(Body(name: name, run: body))
        var thread = pthread_t()
        let failure = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                // Takes over the reference that `start` retained.
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                _ = sluice_name_thread(body.name)
                body.run()
                return nil
            }, box.toOpaque())
        guard failure == 0 else {
            box.release()
            throw KafkaError(
                .other, "cannot start the thread \(name): \(String(cString: strerror(failure))); raise the limit of threads",
                isRetriable: true)
        }
    }

    /// Runs a call that may block on a thread of its own and suspends until it is done.
    static func run<T: Sendable>(_ name: String, _ body: @escaping @Sendable () -> T) async throws(KafkaError) -> T {
        let result: Result<T, KafkaError> = await withCheckedContinuation { continuation in
            do throws(KafkaError) {
                try start(name) { continuation.resume(returning: .success(body())) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }
}
