// Counts the group's dead letters once a minute, and deletes those that need not be kept.

import Postgres
import SluiceTables
import Synchronization
import Telemetry

/// Keeps `sluice_dead_letters` within the limits of `dead_letters`, and its number of rows on the metrics page. Each time it connects, does
/// its work and disconnects.
final class DeadLetterRetention: Sendable {
    private let store: DeadLetterStore
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let rows: Gauge
    private let logger: Logger
    private let limits: Mutex<DeadLetterStore.Limits>

    init(
        group: String, _ settings: DeadLetterSettings, configuration: PostgresConfiguration, interval: Duration = .seconds(60),
        rows: Gauge, logger: Logger
    ) {
        store = DeadLetterStore(group: group)
        self.configuration = configuration
        self.interval = interval
        self.rows = rows
        self.logger = logger
        limits = Mutex(settings.limits)
    }

    /// Changes the limits; they hold from the next time on.
    func update(_ settings: DeadLetterSettings) { limits.withLock { $0 = settings.limits } }

    /// Counts and deletes at the interval until the task is cancelled, which also abandons what is under way.
    func run() async throws {
        var hasFailed = false
        while true {
            do {
                try await check()
                if hasFailed { logger.info("Dead letters can be counted again.") }
                hasFailed = false
            } catch {
                try Task.checkCancellation()
                if !hasFailed {
                    logger.warning("Dead letters cannot be counted or deleted; trying again.", ["message": "\(error)"])
                }
                hasFailed = true
            }
            try await Task.sleep(for: interval)
        }
    }

    private func check() async throws {
        let connection = try await PostgresConnection.connect(configuration, log: logger.postgres)
        let limits = limits.withLock { $0 }
        let (deleted, left) = try await withTaskCancellationHandler {
            try await connection.performLast { [store] session in
                let deleted = try store.delete(beyond: limits, on: session)
                return (deleted, try store.count(on: session))
            }
        } onCancel: {
            connection.abandon()
        }
        rows.set(left)
        if deleted > 0 { logger.info("Dead letters deleted: they were beyond the limits.", ["deleted": deleted, "left": left]) }
    }
}
