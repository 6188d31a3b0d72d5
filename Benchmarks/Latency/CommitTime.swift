// Measures the commit of one row: no latency can be below it.

import Platform
import Postgres
import Records

enum CommitTime {
    private static let statement = PreparedStatement(
        """
        INSERT INTO messages (message_id, name, message) VALUES ($1, $2, $3)
        ON CONFLICT (message_id) DO UPDATE SET name = excluded.name, message = excluded.message
        """, types: [TypeOID.int4, TypeOID.text, TypeOID.text])

    /// Upserts that commit by themselves, one after the other on one connection.
    /// - Parameter firstID: of the rows, which stay.
    static func measure(_ database: BenchDatabase, count: Int = 300, firstID: Int32) async throws -> Latencies {
        try await database.withSession { session in
            let parameters = Parameters()
            let message = String(repeating: "c", count: EventStream.messageBytes)
            var latencies: [Double] = []
            // The first ones prepare, and warm up the caches.
            for index in -20..<count {
                parameters.removeAll()
                parameters.append(int4: firstID + Int32(max(0, index)))
                parameters.append(text: "commit")
                parameters.append(text: message)
                let start = MonotonicClock.nanoseconds()
                try session.execute(statement, parameters)
                if index >= 0 { latencies.append(Double(MonotonicClock.nanoseconds() - start) / 1e6) }
            }
            return Latencies(milliseconds: latencies)
        }
    }
}
