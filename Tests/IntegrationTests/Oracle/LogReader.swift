// Reads a whole topic from the broker, each partition from its first record to its present end.

import Foundation
import Kafka
import Records
import TestSupport

extension World {
    /// The oracle after the whole log.
    /// - Parameter skipping: by partition, the number of first records that are not applied.
    func oracle(skipping: [Int32: Int64] = [:], refuses: @escaping @Sendable (Texts) -> Bool = { _ in false }) async throws
        -> Oracle
    {
        let ends = try await self.ends()
        var configuration = KafkaConsumerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: kafka.bootstrapServers),
            groupID: "oracle-\(UUID().uuidString)", topics: [topic])
        configuration.sessionTimeout = .seconds(10)
        let consumer = try KafkaConsumer.start(configuration, limit: FixedReadLimit())
        // Ends the wait for an event that does not come.
        let limit = Task {
            try await Task.sleep(for: .seconds(180))
            _ = await consumer.close(deadline: .seconds(2))
        }
        defer { limit.cancel() }
        var oracle = Oracle(refuses: refuses)
        var positions: [Int32: Int64] = [:]
        while ends.contains(where: { positions[$0.key, default: 0] < $0.value }) {
            guard let event = await consumer.next() else { throw Trouble("the log could not be read within three minutes") }
            switch event {
            case .assigned(let partitions):
                consumer.assign(partitions.map { ($0, positions[$0.partition, default: 0]) }, generation: 1)
            case .revoked: consumer.unassign()
            case .records(let batch):
                let partition = batch.source.partition
                for record in batch.records where record.offset >= positions[partition, default: 0] {
                    positions[partition] = record.offset + 1
                    if record.offset < skipping[partition, default: 0] { continue }
                    oracle.apply(
                        key: batch.bytes(of: record.key).map { Data($0) }, value: batch.bytes(of: record.value).map { Data($0) },
                        at: Coordinate(partition: partition, offset: record.offset))
                }
            case .reachedEnd(let source, let offset, _):
                positions[source.partition] = max(offset, positions[source.partition, default: 0])
            case .failed(let error), .partitionFailed(_, let error, _): throw error
            case .otherLog(_, _, _, let reason): throw Trouble(reason)
            case .committed, .notice: break
            }
        }
        _ = await consumer.close(deadline: .seconds(5))
        return oracle
    }
}
