// Counts the group's dead letters once a minute, and deletes dead letters and tombstones that need not be kept.

import Postgres
import SluiceTables
import Synchronization
import Telemetry

/// Keeps `sluice_dead_letters` within the limits of `dead_letters`, its number of rows on the metrics page, and `sluice_tombstones` within
/// `tombstones`. Each time it connects, does its work and disconnects.
final class TableRetention: Sendable {
    private let letters: DeadLetterStore
    private let tombstones: TombstoneStore
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let rows: Gauge
    private let logger: Logger
    private let limits: Mutex<(letters: DeadLetterStore.Limits, tombstones: Duration)>

    init(
        group: String, tombstones: TombstoneStore, _ settings: SluiceSettings, configuration: PostgresConfiguration,
        interval: Duration = .seconds(60), rows: Gauge, logger: Logger
    ) {
        letters = DeadLetterStore(group: group)
        self.tombstones = tombstones
        self.configuration = configuration
        self.interval = interval
        self.rows = rows
        self.logger = logger
        limits = Mutex((settings.deadLetters.limits, settings.tombstones.keepFor))
    }

    /// Changes the limits; they hold from the next time on.
    func update(_ settings: SluiceSettings) {
        limits.withLock { $0 = (settings.deadLetters.limits, settings.tombstones.keepFor) }
    }

    /// Counts and deletes at the interval until the task is cancelled, which also abandons what is under way.
    func run() async throws {
        var hasFailed = false
        while true {
            do {
                try await check()
                if hasFailed { logger.info("Dead letters can be counted, and tombstones deleted, again.") }
                hasFailed = false
            } catch {
                try Task.checkCancellation()
                if !hasFailed {
                    logger.warning(
                        "Dead letters cannot be counted or deleted, or tombstones not deleted; trying again.",
                        ["message": "\(error)"])
                }
                hasFailed = true
            }
            try await Task.sleep(for: interval)
        }
    }

    private func check() async throws {
        let connection = try await PostgresConnection.connect(configuration, log: logger.postgres)
        let limits = limits.withLock { $0 }
        let (deleted, left, forgotten) = try await withTaskCancellationHandler {
            try await connection.performLast { [letters, tombstones] session in
                let deleted = try letters.delete(beyond: limits.letters, on: session)
                let left = try letters.count(on: session)
                return (deleted, left, try tombstones.delete(olderThan: limits.tombstones, on: session))
            }
        } onCancel: {
            connection.abandon()
        }
        rows.set(left)
        if deleted > 0 { logger.info("Dead letters deleted: they were beyond the limits.", ["deleted": deleted, "left": left]) }
        if forgotten > 0 { logger.info("Tombstones deleted: they were beyond the limit.", ["deleted": forgotten]) }
    }
}
