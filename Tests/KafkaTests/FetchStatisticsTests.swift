// Proves what is read from a report of librdkafka's statistics, from the shape that version 2.0.2 writes.

import Records
import Testing

@testable import Kafka

@Suite struct FetchStatisticsTests {
    private static func statistics(_ json: String) -> FetchStatistics {
        Array(json.utf8).withUnsafeBufferPointer { FetchStatistics($0) }
    }

    private static func broker(_ node: Int, _ state: String) -> String {
        """
        "h\(node):9092/\(node)": { "name":"h\(node):9092/\(node)", "nodeid":\(node), "nodename":"h\(node):9092", "source":"learned", \
        "state":"\(state)", "stateage":92, "outbuf_cnt":0, "rxidle":-1, "int_latency": { "min":0, "max":0, "outofrange":0 }, \
        "req": { "Fetch": 10, "ListOffsets": 1 }, "toppars":{ "t-0": { "topic":"t", "partition":0} } }
        """
    }

    private static func partition(_ number: Int, broker: Int, records: Int, bytes: Int) -> String {
        """
        "\(number)": { "partition":\(number), "broker":\(broker), "leader":\(broker), "desired":true, "unknown":false, "msgq_cnt":0, \
        "fetchq_cnt":\(records), "fetchq_size":\(bytes), "fetch_state":"active", "next_offset":10, "app_offset":-1001, \
        "msgs": 5, "acked_msgid": 0}
        """
    }

    private static func report(_ brokers: [String], _ topics: [(name: String, partitions: [String])]) -> String {
        let topics = topics.map {
            "\"\($0.name)\": { \"topic\":\"\($0.name)\", \"age\":12, \"batchsize\": { \"min\":0, \"p99_99\":0 }, "
                + "\"partitions\":{ \($0.partitions.joined(separator: " , "))} } "
        }
        return "{ \"name\": \"sluice#consumer-1\", \"client_id\": \"a \\\"fetchq_size\\\": 9\", \"ts\":123, \"replyq\":0, "
            + "\"brokers\":{ \(brokers.joined(separator: " , "))}, \"topics\":{ \(topics.joined(separator: ", "))} , "
            + "\"cgrp\": { \"state\": \"up\", \"assignment_size\": 3 }, \"tx\":1, \"rxmsgs\":0 }"
    }

    @Test func theCoordinatorsStateIsRead() {
        #expect(Self.statistics(Self.report([], [])).isCoordinatorUp)
        #expect(
            !Self.statistics(Self.report([Self.broker(1, "up")], []).replacing("\"state\": \"up\"", with: "\"state\": \"init\""))
                .isCoordinatorUp)
    }

    @Test func queuesOfAllPartitionsAreAddedUp() {
        let statistics = Self.statistics(
            Self.report(
                [Self.broker(-1, "DOWN"), Self.broker(1, "UP"), Self.broker(2, "UP")],
                [
                    (
                        "t",
                        [
                            Self.partition(0, broker: 1, records: 7, bytes: 700),
                            Self.partition(1, broker: 2, records: 3, bytes: 8_388_608),
                            Self.partition(-1, broker: -1, records: 0, bytes: 0),
                        ]
                    ), ("u", [Self.partition(0, broker: 2, records: 0, bytes: 0)]), ("v", []),
                ]))
        #expect(statistics.records == 10)
        #expect(statistics.bytes == 8_389_308)
        #expect(statistics.prefetchedBytes == 8_389_308 + 10 * PrefetchShare.overheadPerRecord)
        #expect(statistics.unreachable.isEmpty)
    }

    @Test func partitionsOfABrokerThatIsAwayAreNamed() {
        let statistics = Self.statistics(
            Self.report(
                [Self.broker(1, "UP"), Self.broker(2, "TRY_CONNECT")],
                [
                    (
                        "t",
                        [
                            Self.partition(0, broker: 1, records: 0, bytes: 0),
                            Self.partition(1, broker: 2, records: 0, bytes: 0),
                            Self.partition(2, broker: -1, records: 0, bytes: 0),
                            Self.partition(3, broker: 3, records: 0, bytes: 0),
                        ]
                    )
                ]))
        #expect(statistics.unreachable == [TopicPartition("t", 1), TopicPartition("t", 2), TopicPartition("t", 3)])
    }

    /// A report that is cut off, or is none, is read as far as it goes.
    @Test func brokenReportsDoNoHarm() {
        let whole = Self.report([Self.broker(1, "UP")], [("t", [Self.partition(0, broker: 1, records: 7, bytes: 700)])])
        for length in 0..<whole.utf8.count {
            let statistics = Self.statistics(String(whole.prefix(length)))
            #expect(statistics.records == 0 || statistics.records == 7)
        }
        #expect(Self.statistics("}}]],,\"").records == 0)
    }

    @Test func aReportOfManyPartitionsIsReadQuickly() {
        let partitions = (0..<200).map { Self.partition($0, broker: 1, records: 1, bytes: 10) }
        let report = Self.report([Self.broker(1, "UP")], [("t", partitions)])
        let start = ContinuousClock.now
        #expect(Self.statistics(report).bytes == 2_000)
        print("a report of \(report.utf8.count) bytes takes \(ContinuousClock.now - start)")
    }
}
