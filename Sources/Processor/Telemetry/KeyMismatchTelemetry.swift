// Counts records whose key names another row than their payload, and warns of them.

import Records
import Synchronization
import Telemetry

/// Counts by batch, and writes one line a minute at most.
final class KeyMismatchTelemetry: Sendable {
    private static let warningInterval: Int64 = 60_000

    private let logger: Logger
    private let counter: Counter
    /// Records since the last warning, and when that was, in milliseconds.
    private let state = Mutex<(records: Int, warnedAt: Int64?)>((0, nil))

    init(_ registry: MetricsRegistry, logger: Logger) {
        self.logger = logger
        counter = registry.counter(
            "sluice_key_mismatches_total", help: "Applied records whose key names another row than their payload.")
    }

    /// A batch is durable.
    /// - Parameter now: milliseconds since 1970.
    func applied(_ batch: ChangeBatch, now: Int64) {
        guard batch.keyMismatches > 0 else { return }
        counter.increment(by: batch.keyMismatches)
        let records = state.withLock { state -> Int? in
            state.records += batch.keyMismatches
            if let last = state.warnedAt, now - last < Self.warningInterval { return nil }
            defer { state = (0, now) }
            return state.records
        }
        guard let records else { return }
        logger.warning(
            "Record keys name other rows than their payloads; a row's events may be in several partitions, and their order is lost.",
            ["records": records, "partition": "\(batch.records.source)"])
    }
}
