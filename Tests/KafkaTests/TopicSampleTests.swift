// Tests samples of topics: which records they are, and that reading them leaves no trace in a group.

import Kafka
import Records
import Testing

@Suite(.timeLimit(.minutes(1)))
struct TopicSampleTests {
    private func sample(_ broker: EmbeddedBroker, _ limit: Int, partitions: Int) async throws -> [String] {
        try await TopicSample.read("t", partitions: partitions, limit: limit, clientConfiguration(broker)).map { batch in
            #expect(batch.count == 1)
            let key = batch.bytes(of: batch.records[0].key).map { String(decoding: $0, as: UTF8.self) } ?? "nil"
            return "\(batch.source.partition)@\(batch.records[0].offset)=\(key)"
        }
    }

    @Test func theFirstRecordsOfEachPartitionAreRead() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 3)])
        defer { broker.stop() }
        // The records 0, 2, 4, … lie in partition 0, the others in partition 1, and none in partition 2.
        try await fill(broker, partitions: 2, count: 20, bytes: 0)
        #expect(try await sample(broker, 4, partitions: 3) == ["0@0=0", "0@1=2", "1@0=1", "1@1=3"])
        #expect(try await sample(broker, 4, partitions: 3) == ["0@0=0", "0@1=2", "1@0=1", "1@1=3"])
        #expect(try await sample(broker, 1, partitions: 3) == ["0@0=0"])
        let all = try await sample(broker, 100, partitions: 3)
        #expect(all.count == 20 && all.first == "0@0=0" && all.last == "1@9=19", "\(all)")
    }

    /// One partition has nearly everything: the sample is as large as asked for all the same.
    @Test func anEmptyPartitionMakesTheSampleNoSmaller() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 8)])
        defer { broker.stop() }
        try await fill(broker, partitions: 1, count: 50, bytes: 0)
        #expect(try await sample(broker, 30, partitions: 8).count == 30)
        let empty = try EmbeddedBroker.start(topics: [("t", 2)])
        defer { empty.stop() }
        #expect(try await sample(empty, 10, partitions: 2) == [])
    }

    @Test func aPartitionThatDoesNotAnswerIsNamed() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 2)])
        defer { broker.stop() }
        try broker.setLeader(of: "t", partition: 1, to: nil)
        let error = await #expect(throws: KafkaError.self) {
            try await TopicSample.read("t", partitions: 2, limit: 10, clientConfiguration(broker), timeout: .seconds(2))
        }
        #expect(error?.description.contains("t[1]") == true, "\(String(describing: error))")
    }
}
