// Runs blocking calls of librdkafka on threads of their own.

internal import Platform

/// Threads of this module. Swift's cooperative pool never runs a call that may block.
extension OwnedThread {
    /// ``start(_:_:)`` with this module's error.
    static func startForKafka(_ name: String, _ body: @escaping @Sendable () -> Void) throws(KafkaError) {
        do throws(SystemError) {
            try start(name, body)
        } catch {
            throw KafkaError(
                .other, "cannot start the thread \(name): \(error); raise the limit of threads", isRetriable: true)
        }
    }

    /// Runs a call that may block on a thread of its own and suspends until it is done.
    static func run<T: Sendable>(_ name: String, _ body: @escaping @Sendable () -> T) async throws(KafkaError) -> T {
        let result: Result<T, KafkaError> = await withCheckedContinuation { continuation in
            do throws(KafkaError) {
                try startForKafka(name) { continuation.resume(returning: .success(body())) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }
}
