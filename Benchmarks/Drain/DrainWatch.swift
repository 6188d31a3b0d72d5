// Times a drain from the database's side, in the same way for every worker.

import Foundation
import Glibc
import Platform
import Postgres

/// The figures of one drain.
struct DrainRun: Codable, Sendable {
    let rowsPerSecond: Double
    /// The worker's processor time since its start.
    let cpuSecondsPerMillion: Double
    let peakMebibytes: Double
}

/// Watches the table grow, or the applied offsets, while a worker runs.
struct DrainWatch: Sendable {
    let database: BenchDatabase
    let rows: Int
    /// Several events have one row, so events are counted, by their offsets.
    var countsOffsets = false
    /// Seconds without a write after which a worker has failed.
    private static let patience = 120.0
    private static let interval: UInt32 = 10_000

    init(database: BenchDatabase, rows: Int, countsOffsets: Bool = false) {
        self.database = database
        self.rows = rows
        self.countsOffsets = countsOffsets
    }

    /// Waits until all rows are there: from the first growth of the table's file, or of the offsets, to the last.
    func watch(_ worker: Child) async throws -> DrainRun {
        let (rows, countsOffsets) = (rows, countsOffsets)
        return try await database.withSession { session in
            let offsets = "SELECT coalesce(sum(next_offset), 0)::int8 FROM sluice_offsets"
            let size = PreparedStatement(countsOffsets ? offsets : "SELECT pg_relation_size('messages')")
            var usage = Child.Usage()
            var bytes: Int64 = 0
            var first = 0.0
            var last = Self.now()
            var counted = 0.0
            while true {
                let now = Self.now()
                let grown = try session.execute(size).int64(0, 0)
                if grown > bytes {
                    if bytes == 0 { first = now }
                    bytes = grown
                    last = now
                }
                let present = worker.usage()
                if let present { usage = present }
                if countsOffsets, bytes >= Int64(rows) { break }
                // Counting reads the whole table, so it waits until the file does not grow any more.
                if !countsOffsets, bytes > 0, now - last > 1, now - counted > 2 {
                    let count = try session.execute("SELECT count(*) FROM messages").int64(0, 0)
                    if count == Int64(rows) { break }
                    counted = Self.now()
                }
                if present == nil, !worker.isRunning, now - last > 5 {
                    throw worker.failure("ended before all rows were written")
                }
                if now - last > Self.patience { throw worker.failure("has written nothing for \(Int(Self.patience)) s") }
                usleep(Self.interval)
            }
            return DrainRun(
                rowsPerSecond: Double(rows) / (last - first), cpuSecondsPerMillion: usage.cpuSeconds * 1e6 / Double(rows),
                peakMebibytes: Double(usage.peakKibibytes) / 1024)
        }
    }

    private static func now() -> Double { Double(MonotonicClock.nanoseconds()) / 1e9 }
}
