// A worker without any speed, for tests: reads a topic to its end and applies it to PostgreSQL one event at a time.

import Foundation
import Kafka
import Postgres
import Records
import TestSupport

/// One record as it was read back.
struct ReadRecord: Sendable {
    let partition: Int32
    let offset: Int64
    let key: [UInt8]
    let value: [UInt8]
}

/// Reads everything below the given end of each partition, in the order of each partition.
func readBack(_ broker: EmbeddedBroker, topic: String, ends: [Int64]) async throws -> [[ReadRecord]] {
    var configuration = KafkaConsumerConfiguration(
        client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "reader", topics: [topic])
    configuration.adaptToEmbeddedBroker()
    let consumer = try KafkaConsumer.start(configuration, limit: FixedReadLimit())
    var log = [[ReadRecord]](repeating: [], count: ends.count)
    var left = ends.reduce(0, +)
    while left > 0, let event = await consumer.next() {
        switch event {
        case .assigned(let partitions): consumer.assign(partitions.map { ($0, offset: 0) }, generation: 1)
        case .revoked: consumer.unassign()
        case .records(let batch):
            let partition = batch.source.partition
            for record in batch.records {
                log[Int(partition)].append(
                    ReadRecord(
                        partition: partition, offset: record.offset, key: batch.bytes(of: record.key).map(Array.init) ?? [],
                        value: batch.bytes(of: record.value).map(Array.init) ?? []))
                left -= 1
            }
        case .failed(let error), .partitionFailed(_, let error, _): throw error
        case .committed, .notice, .otherLog, .reachedEnd: break
        }
    }
    _ = await consumer.close(deadline: .seconds(30))
    return log
}

/// Applies a topic's records to the tables, each by what it says and what is there; partition by partition.
func applyNaively(_ log: [[ReadRecord]], group: String, topic: String, _ session: PostgresSession) throws {
    try session.execute("BEGIN")
    for records in log {
        for record in records { try apply(record, group: group, topic: topic, session) }
        guard let last = records.last else { continue }
        let parameters = Parameters()
        parameters.append(text: group)
        parameters.append(text: topic)
        parameters.append(int4: last.partition)
        parameters.append(int8: last.offset + 1)
        try session.execute(
            """
            INSERT INTO sluice_offsets (consumer_group, topic, partition, next_offset, epoch, member)
            VALUES ($1, $2, $3, $4, 1, 'naive')
            """, parameters)
    }
    try session.commit()
}

private func apply(_ record: ReadRecord, group: String, topic: String, _ session: PostgresSession) throws {
    let object = (try? JSONSerialization.jsonObject(with: Data(record.value))) as? [String: Any]
    let data = object?["data"] as? [String: String]
    let parameters = Parameters()
    if let action = object?["action"] as? String, ["Create", "Update", "Upsert", "Delete"].contains(action),
        let id = object?["message_id"] as? Int, let id = Int32(exactly: id), action == "Delete" || data?["name"] != nil,
        data?["name"]?.contains("\0") != true
    {
        parameters.append(int4: id)
        if action == "Delete" {
            try session.execute("DELETE FROM messages WHERE message_id = $1", parameters)
            return
        }
        let isPresent = try session.execute("SELECT FROM messages WHERE message_id = $1", parameters).rowCount == 1
        if action == (isPresent ? "Create" : "Update") { return }
        parameters.append(text: data?["name"] ?? "")
        parameters.append(text: data?["message"] ?? "")
        try session.execute(
            isPresent
                ? "UPDATE messages SET name = $2, message = $3 WHERE message_id = $1"
                : "INSERT INTO messages (message_id, name, message) VALUES ($1, $2, $3)", parameters)
    } else {
        parameters.append(text: group)
        parameters.append(text: topic)
        parameters.append(int4: record.partition)
        parameters.append(int8: record.offset)
        parameters.append(bytes: record.key)
        try session.execute(
            """
            INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", key, reason)
            VALUES ($1, $2, $3, $4, $5, 'test')
            """, parameters)
    }
}
