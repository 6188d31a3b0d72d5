// Proves that a partition's prefetch never exceeds its share, and how the size of a fetch follows from the properties.

import Kafka
import Testing

@Suite struct PrefetchShareTests {
    @Test(arguments: [6, 18, 24, 37, 48, 96, 1536], [1, 3, 8, 17, 64, 200])
    func thePartitionsNeverExceedTheWhole(mebibytes: Int, partitions: Int) {
        let bytes = mebibytes << 20
        guard let share = PrefetchShare(bytes: bytes, partitions: partitions) else { return }
        #expect(share.worstCase * partitions <= bytes, "\(share)")
    }

    @Test func theSizeOfAFetchIsWhatLibrdkafkaMakesOfTheProperties() {
        func bytes(_ properties: [String: String]) -> Int { PrefetchShare.fetchBytes(of: 2_000_000, properties: properties) }
        #expect(bytes([:]) == 2_000_000)
        #expect(bytes(["fetch.message.max.bytes": "5"]) == 5)
        #expect(bytes(["fetch.message.max.bytes": "5", "max.partition.fetch.bytes": "7"]) == 7)
        #expect(bytes(["fetch.max.bytes": "1500000"]) == 1_500_000)
        #expect(bytes(["fetch.max.bytes": "5"]) == 1_000_000, "librdkafka raises it to message.max.bytes")
        #expect(bytes(["fetch.max.bytes": "5", "message.max.bytes": "2000"]) == 2_000)
        #expect(bytes(["fetch.max.bytes": "9000000"]) == 2_000_000)
    }
}
