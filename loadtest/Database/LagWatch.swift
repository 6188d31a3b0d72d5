// Reads, during the load, how many of the run's events the worker has applied.

import Synchronization

/// Queries the database ten times a second; others read the figure without waiting.
final class LagWatch: Sendable {
    private let database: Database
    private let ledger: RunLedger
    private let appliedCount = Atomic<UInt64>(0)
    private let failure = Mutex<LoadError?>(nil)

    init(_ database: Database, _ ledger: RunLedger) {
        self.database = database
        self.ledger = ledger
    }

    /// How many of the run's events are applied.
    var applied: UInt64 { appliedCount.load(ordering: .relaxed) }

    /// Why the figure is not updated any more; `nil` while it is.
    var error: LoadError? { failure.withLock { $0 } }

    /// Queries until the task is cancelled or the database fails.
    func watch() async {
        while !Task.isCancelled {
            do throws(LoadError) {
                let offsets = try await database.appliedOffsets()
                let written = ledger.state.withLock { $0.written }
                var sum: Int64 = 0
                for (partition, range) in written.enumerated() {
                    guard let range, let offset = offsets[Int32(partition)] else { continue }
                    sum += max(0, min(offset, range.next) - range.first)
                }
                appliedCount.store(UInt64(sum), ordering: .relaxed)
            } catch {
                failure.withLock { $0 = error }
                return
            }
            guard (try? await Task.sleep(nanoseconds: 100_000_000)) != nil else { return }
        }
    }
}
