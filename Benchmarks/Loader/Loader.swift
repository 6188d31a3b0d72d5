// One run of the loader: connections that write their share of the rows in batches of sorted keys.

import Platform
import Postgres
import Records

/// Writes `rows` rows over several connections.
struct Loader: Sendable {
    let database: BenchDatabase
    let rows: Int
    let connections: Int

    /// Rows a second, from the first statement to the last answer.
    func run() async throws -> Double {
        var lanes: [PostgresConnection] = []
        for _ in 0..<connections { lanes.append(try await BenchDatabase.connect(database.uri)) }
        let start = MonotonicClock.nanoseconds()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, connection) in lanes.enumerated() {
                group.addTask { try await connection.perform { try load(index, on: $0) } }
            }
            try await group.waitForAll()
        }
        let seconds = Double(MonotonicClock.nanoseconds() - start) / 1e9
        for connection in lanes { await connection.close() }
        let written = try await database.withSession { try $0.execute("SELECT count(*) FROM messages").int64(0, 0) }
        guard written == Int64(rows) else { throw BenchError("the loader wrote \(written) of \(rows) rows") }
        return Double(rows) / seconds
    }

    private static let statement = PreparedStatement(
        """
        INSERT INTO messages (message_id, name, message)
        SELECT u.id, u.name, u.message FROM unnest($1::int4[], $2::text[], $3::text[]) AS u (id, name, message)
        ON CONFLICT (message_id) DO UPDATE SET name = excluded.name, message = excluded.message
        """)

    /// Every `connections`-th event of the stream, so the connections' keys are scattered over the same index.
    private func load(_ lane: Int, on session: PostgresSession) throws {
        let stream = EventStream(count: rows)
        let message = [UInt8](repeating: UInt8(ascii: "m"), count: EventStream.messageBytes)
        var ids = BinaryArray(element: TypeOID.int4)
        var names = BinaryArray(element: TypeOID.text)
        var messages = BinaryArray(element: TypeOID.text)
        let parameters = Parameters()
        var keys: [Int32] = []
        keys.reserveCapacity(LoaderBench.batch)
        var next = lane
        while next < rows {
            keys.removeAll(keepingCapacity: true)
            while next < rows, keys.count < LoaderBench.batch {
                keys.append(stream.id(next))
                next += connections
            }
            keys.sort()
            ids.removeAll()
            names.removeAll()
            messages.removeAll()
            for key in keys {
                ids.append(key)
                names.append("user-\(key)")
                message.withUnsafeBytes { messages.append($0) }
            }
            parameters.removeAll()
            parameters.append(array: &ids, type: TypeOID.int4Array)
            parameters.append(array: &names, type: TypeOID.textArray)
            parameters.append(array: &messages, type: TypeOID.textArray)
            try session.execute(Self.statement, parameters)
        }
    }
}
