// Owns the SQL of `sluice_offsets`: reading, claiming, moving and settling offsets.

import Platform
public import Postgres
public import Records

/// The applied offsets of one consumer group. Every call is a transaction of its own.
public struct OffsetStore: Sendable {
    /// The consumer group.
    public let group: String
    /// In place of an offset: the log's end, as soon as it can be learned.
    public static let endToCome: Int64 = -1
    /// How long a call waits for a locked row before it ends the backend that is recorded in it.
    public var lockTimeout: Duration = .seconds(2)

    /// The offsets of a group.
    public init(group: String) { self.group = group }

    /// The stored rows of some partitions; those never claimed are left out.
    public func read(_ partitions: [TopicPartition], on session: PostgresSession) throws -> [StoredOffset] {
        let sql = """
            SELECT \(Self.columns) FROM sluice_offsets o
            JOIN unnest($2::text[], $3::int4[]) AS u(topic, partition) ON o.topic = u.topic AND o.partition = u.partition
            WHERE o.consumer_group = $1::text ORDER BY o.topic, o.partition
            """
        return try ask(session, sql, partitions, rows: stored)
    }

    /// The topics among these of which any partition has a row.
    public func known(_ topics: [String], on session: PostgresSession) throws -> Set<String> {
        var names = BinaryArray(element: TypeOID.text)
        for topic in topics { names.append(topic) }
        let parameters = Parameters()
        parameters.append(text: group)
        parameters.append(array: &names, type: TypeOID.textArray)
        let sql = """
            SELECT u.topic FROM unnest($2::text[]) AS u(topic)
            WHERE EXISTS (SELECT FROM sluice_offsets o WHERE o.consumer_group = $1::text AND o.topic = u.topic)
            """
        let result = try session.execute(sql, parameters)
        return Set(try (0..<result.rowCount).map { try result.text($0, 0) })
    }

    /// Stores where partitions without a row are to start, without claiming them.
    public func prepare(
        _ partitions: [(source: TopicPartition, start: Int64)], member: String, on session: PostgresSession
    ) throws {
        if partitions.isEmpty { return }
        let sql = """
            INSERT INTO sluice_offsets (consumer_group, topic, partition, next_offset, epoch, member, updated_at)
            SELECT $1::text, u.topic, u.partition, u.start, 0, $5::text, clock_timestamp()
            FROM unnest($2::text[], $3::int4[], $4::int8[]) AS u(topic, partition, start) ORDER BY u.topic, u.partition
            ON CONFLICT (consumer_group, topic, partition) DO NOTHING
            """
        _ = try ask(session, sql, partitions.map(\.source), starts: partitions.map(\.start), member: member) { _, _ in 0 }
    }

    /// Claims partitions for `member`: raises their epochs, so that earlier claims are fenced. Returns the claims.
    ///
    /// A stored offset takes precedence over `start`. Rows are locked by topic and partition. Where a row stays locked for
    /// ``lockTimeout``, the backends recorded in the rows are terminated (same process *and* same start time) and the claim is tried
    /// once more. The backend of `session` is recorded, so claim on the connection that will write.
    public func claim(
        _ partitions: [(source: TopicPartition, start: Int64)], member: String, on session: PostgresSession
    ) throws -> [PartitionClaim] {
        let sql = """
            INSERT INTO sluice_offsets AS o
              (consumer_group, topic, partition, next_offset, epoch, member, backend_pid, backend_start, updated_at)
            SELECT $1::text, u.topic, u.partition, u.start, 1, $5::text, pg_backend_pid(), \(Self.ownStart), clock_timestamp()
            FROM unnest($2::text[], $3::int4[], $4::int8[]) AS u(topic, partition, start) ORDER BY u.topic, u.partition
            ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET epoch = o.epoch + 1, member = excluded.member,
              backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, updated_at = excluded.updated_at
            RETURNING topic, partition, epoch, next_offset, \(Self.lastApplied)
            """
        let sources = partitions.map(\.source)
        return try endingHolders(of: sources, on: session) {
            try ask(session, sql, sources, starts: partitions.map(\.start), member: member) { result, row in
                PartitionClaim(
                    source: TopicPartition(try result.text(row, 0), try result.int32(row, 1)),
                    epoch: try result.int64(row, 2), nextOffset: try result.int64(row, 3),
                    lastApplied: try result.isNull(row, 4) ? nil : result.int64(row, 4))
            }
        }
    }

    /// Records the backend of `session` in place of a living one, for all that was claimed on it: for a connection that takes the place of
    /// another.
    /// - Parameter backendPID: that of the other connection.
    public func replaceBackend(_ backendPID: Int32, on session: PostgresSession) throws {
        let sql = """
            UPDATE sluice_offsets o SET backend_pid = pg_backend_pid(), backend_start = \(Self.ownStart)
            FROM pg_stat_activity a WHERE a.pid = $2::int4 AND o.backend_pid = a.pid AND o.backend_start = a.backend_start
              AND o.consumer_group = $1::text
            """
        let parameters = Parameters()
        parameters.append(text: group)
        parameters.append(int4: backendPID)
        try session.execute(sql, parameters)
    }

    /// Moves partitions to another offset, forgets the record before it, and fences earlier claims. A partition whose offset is not `from` any more is left alone: its
    /// owner has committed meanwhile, and what it committed must not be read again. Returns those that were moved.
    @discardableResult
    public func move(
        _ partitions: [(source: TopicPartition, from: Int64, to: Int64)], member: String, on session: PostgresSession
    ) throws -> [TopicPartition] {
        let sql = """
            UPDATE sluice_offsets o SET epoch = o.epoch + 1, member = $5::text, next_offset = u.next, last_offset = NULL,
              last_fingerprint = NULL, backend_pid = NULL, backend_start = NULL, updated_at = clock_timestamp()
            FROM unnest($2::text[], $3::int4[], $4::int8[]) AS u(topic, partition, next)
            WHERE o.consumer_group = $1::text AND o.topic = u.topic AND o.partition = u.partition
            """
        let sources = partitions.map(\.source)
        return try endingHolders(of: sources, on: session) {
            let rows = try ask(session, Self.lockedRows, sources, rows: stored)
            let offsets = Dictionary(rows.map { ($0.source, $0.nextOffset) }, uniquingKeysWith: { first, _ in first })
            let unmoved = partitions.filter { offsets[$0.source] == $0.from }
            if unmoved.isEmpty { return [] }
            _ = try ask(session, sql, unmoved.map(\.source), starts: unmoved.map(\.to), member: member) { _, _ in 0 }
            return unmoved.map(\.source)
        }
    }

    private static let advanceStatement = PreparedStatement(
        "SELECT sluice_advance($1::text, $2::text[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])")

    /// The first statement of a transaction: moves its partitions' offsets, or raises ``SQLState/fenced`` where a row is not as expected.
    public func encode(_ advances: [OffsetAdvance], _ pool: ArrayPool) -> EncodedStatement {
        var writer = ParameterWriter(pool)
        writer.text(group)
        writer.texts(advances.map(\.source.topic))
        writer.array(TypeOID.int4) { array in for advance in advances { array.append(advance.source.partition) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.epoch) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.expected) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.next) } }
        writer.array(TypeOID.int8) { array in
            for advance in advances {
                if let last = advance.lastApplied { array.append(last) } else { array.append(nil) }
            }
        }
        return writer.finish(Self.advanceStatement)
    }

    /// Reads where the partitions of a transaction are whose connection was lost. On return that transaction has ended for certain: its
    /// row locks were waited for, and its backend, as recorded, was terminated. The backend of `session` is recorded in its place.
    public func settle(_ advances: [OffsetAdvance], on session: PostgresSession) throws -> [TopicPartition: SettledState] {
        let record = """
            UPDATE sluice_offsets o SET backend_pid = pg_backend_pid(), backend_start = \(Self.ownStart)
            FROM unnest($2::text[], $3::int4[], $4::int8[]) AS u(topic, partition, epoch)
            WHERE o.consumer_group = $1::text AND o.topic = u.topic AND o.partition = u.partition AND o.epoch = u.epoch
            """
        let sources = advances.map(\.source)
        return try endingHolders(of: sources, on: session) {
            let rows = try ask(session, Self.lockedRows, sources, rows: stored)
            _ = try ask(session, record, sources, starts: advances.map(\.epoch)) { _, _ in 0 }
            return Self.states(advances, rows)
        }
    }

    /// Compares a transaction's moves with the stored rows. Pure.
    public static func states(_ advances: [OffsetAdvance], _ rows: [StoredOffset]) -> [TopicPartition: SettledState] {
        let stored = Dictionary(rows.map { ($0.source, $0) }, uniquingKeysWith: { first, _ in first })
        return Dictionary(
            advances.map { advance in
                guard let row = stored[advance.source], row.epoch == advance.epoch else { return (advance.source, .fenced) }
                if row.nextOffset == advance.next { return (advance.source, .committed) }
                return (advance.source, row.nextOffset == advance.expected ? .notCommitted : .fenced)
            }, uniquingKeysWith: { first, _ in first })
    }

    private static let lastApplied = "CASE WHEN o.last_offset = o.next_offset - 1 THEN o.last_fingerprint END"
    private static let columns = "o.topic, o.partition, o.epoch, o.next_offset, o.member, \(lastApplied)"
    private static let lockedRows = """
        SELECT \(columns) FROM sluice_offsets o
        JOIN unnest($2::text[], $3::int4[]) AS u(topic, partition) ON o.topic = u.topic AND o.partition = u.partition
        WHERE o.consumer_group = $1::text ORDER BY o.topic, o.partition FOR UPDATE OF o
        """
    private static let ownStart = "(SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"

    private func stored(_ result: PostgresResult, _ row: Int) throws -> StoredOffset {
        StoredOffset(
            source: TopicPartition(try result.text(row, 0), try result.int32(row, 1)), epoch: try result.int64(row, 2),
            nextOffset: try result.int64(row, 3), member: try result.text(row, 4),
            lastApplied: try result.isNull(row, 5) ? nil : result.int64(row, 5))
    }

    private func ask<R>(
        _ session: PostgresSession, _ sql: String, _ partitions: [TopicPartition], starts: [Int64]? = nil,
        member: String? = nil, rows: (PostgresResult, Int) throws -> R
    ) throws -> [R] {
        var topics = BinaryArray(element: TypeOID.text)
        var numbers = BinaryArray(element: TypeOID.int4)
        var offsets = BinaryArray(element: TypeOID.int8)
        for partition in partitions {
            topics.append(partition.topic)
            numbers.append(partition.partition)
        }
        for start in starts ?? [] { offsets.append(start) }
        let parameters = Parameters()
        parameters.append(text: group)
        parameters.append(array: &topics, type: TypeOID.textArray)
        parameters.append(array: &numbers, type: TypeOID.int4Array)
        if starts != nil { parameters.append(array: &offsets, type: TypeOID.int8Array) }
        if let member { parameters.append(text: member) }
        let result = try session.execute(sql, parameters)
        return try (0..<result.rowCount).map { try rows(result, $0) }
    }

    /// Runs `body` in a transaction that waits for row locks no longer than ``lockTimeout``. After that it terminates the backends recorded
    /// in the rows and tries once more.
    private func endingHolders<R>(
        of partitions: [TopicPartition], on session: PostgresSession, _ body: () throws -> R
    ) throws -> R {
        func attempt() throws -> R {
            try session.transaction {
                try session.execute("SET LOCAL lock_timeout = \(max(1, lockTimeout.milliseconds))")
                return try body()
            }
        }
        do {
            return try attempt()
        } catch let error as PostgresError where error.sqlState == .lockNotAvailable {
            let sql = """
                SELECT pg_terminate_backend(a.pid) FROM sluice_offsets o
                JOIN unnest($2::text[], $3::int4[]) AS u(topic, partition) ON o.topic = u.topic AND o.partition = u.partition
                JOIN pg_stat_activity a ON a.pid = o.backend_pid AND a.backend_start = o.backend_start
                WHERE o.consumer_group = $1::text AND a.pid <> pg_backend_pid() GROUP BY a.pid
                """
            _ = try ask(session, sql, partitions) { _, _ in 0 }
            return try attempt()
        }
    }
}
