// Tests the errors for wrong settings.

import CKafka
import Testing

@testable import Kafka

@Suite struct ConfigurationTests {
    private func start(_ properties: [String: String], _ change: (inout KafkaConsumerConfiguration) -> Void = { _ in }) throws {
        var configuration = KafkaConsumerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: "127.0.0.1:1", properties: properties), groupID: "g", topics: ["t"]
        )
        change(&configuration)
        _ = try KafkaConsumer.start(configuration, limit: TestCredits())
    }

    @Test(arguments: [
        "group.id", "group.instance.id", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset",
        "partition.assignment.strategy", "acks", "request.required.acks", "enable.idempotence", "partitioner", "transactional.id",
        "queued.min.messages", "queued.max.messages.kbytes", "bootstrap.servers", "client.id", "session.timeout.ms",
        "message.timeout.ms", "delivery.timeout.ms", "delivery.report.only.error", "enable.partition.eof",
        "statistics.interval.ms", "log.queue", "group.protocol", "enable.sasl.callback.queue", "topic.blacklist",
    ])
    func ownedPropertiesAreRefusedByName(_ name: String) throws {
        let error = try #require(throws: KafkaError.self) { try start([name: "1"]) }
        #expect(error.code == .configuration)
        #expect(error.description.contains(name))
        #expect(!error.isRetriable)
    }

    /// From 2.2.0 on librdkafka's fetchers look after full queues by themselves, at an interval of a second unless it is set.
    @Test func newerLibrariesNeedNoFetchWakeUp() throws {
        let hasQueueBackoff = rd_kafka_version() >= 0x0202_0000
        var configuration = KafkaConsumerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: "127.0.0.1:1"), groupID: "g", topics: ["t"])
        for isWanted in [true, false] {
            configuration.fetchWakeUp = isWanted
            var needsWakeUp = !isWanted
            let properties = try configuration.makeConfiguration(needsWakeUp: &needsWakeUp)
            #expect(needsWakeUp == (isWanted && !hasQueueBackoff))
            #expect(properties.value(of: "fetch.queue.backoff.ms") == (hasQueueBackoff ? "5" : nil))
        }
    }

    @Test func anUnknownPropertyNamesItselfAndTheRemedy() throws {
        let error = try #require(throws: KafkaError.self) { try start(["fetch.wiat.max.ms": "1"]) }
        #expect(error.description.contains("fetch.wiat.max.ms"))
        #expect(error.description.contains("CONFIGURATION.md"))
    }

    @Test func aBadValueCarriesLibrdkafkasReason() throws {
        let error = try #require(throws: KafkaError.self) { try start(["socket.timeout.ms": "soon"]) }
        #expect(error.description.contains("socket.timeout.ms"))
        #expect(error.description.contains("Invalid value"))
    }

    @Test func aRefusedCombinationIsAConfigurationError() throws {
        let error = try #require(throws: KafkaError.self) { try start(["max.poll.interval.ms": "5000"]) }
        #expect(error.code == .configuration)
        #expect(error.description.contains("max.poll.interval.ms"))
    }

    @Test func secretsStayOutOfErrors() throws {
        let secret = "hunter2-hunter2"
        for name in ["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.certificate.pem", "sasl.oauthbearer.client.secret"]
        {
            let properties = [name: secret, "security.protocol": "ssl", "sasl.mechanisms": "PLAIN"]
            for fault in KafkaProperties.faults(in: properties) { #expect(!fault.error.description.contains(secret)) }
            do {
                try start(properties)
            } catch {
                #expect(!"\(error)".contains(secret))
                #expect(!String(reflecting: error).contains(secret))
            }
        }
    }

    @Test func allFaultsAtOnce() {
        let faults = KafkaProperties.faults(in: [
            "group.id": "x", "no.such.thing": "1", "fetch.wait.max.ms": "-5", "compression.type": "lz4", "linger.ms": "3",
        ])
        #expect(faults.map(\.name) == ["fetch.wait.max.ms", "group.id", "no.such.thing"])
    }

    @Test func aLongClientNameIsRefused() throws {
        let error = try #require(throws: KafkaError.self) {
            try start([:]) { $0.client.clientID = String(repeating: "x", count: 32) }
        }
        #expect(error.description.contains("client id"))
    }

    @Test func missingNamesAreRefused() {
        #expect(throws: KafkaError.self) { try start([:]) { $0.groupID = "" } }
        #expect(throws: KafkaError.self) { try start([:]) { $0.topics = [] } }
        #expect(throws: KafkaError.self) { try start([:]) { $0.client.bootstrapServers = "" } }
    }

    @Test func theProtocolConsumerNeedsALibraryThatHasIt() throws {
        #expect(KafkaProperties.groupProtocolFault(.classic, in: ["heartbeat.interval.ms": "1"]) == nil)
        guard KafkaLibrary.hasConsumerProtocol else {
            let error = try #require(throws: KafkaError.self) { try start([:]) { $0.groupProtocol = .consumer } }
            #expect(error.code == .configuration)
            #expect(error.message.contains("kafka.group_protocol: consumer needs librdkafka 2.12.0 or newer"))
            #expect(error.message.contains("\(KafkaLibrary.version) is in use"))
            return
        }
        // librdkafka refuses properties of the other protocol.
        try start([:]) { $0.groupProtocol = .consumer }
        let error = try #require(throws: KafkaError.self) {
            try start(["heartbeat.interval.ms": "100"]) { $0.groupProtocol = .consumer }
        }
        #expect(error.message.contains("heartbeat.interval.ms, which the protocol consumer does not know"))
    }

    @Test(arguments: ["sasl.mechanism", "sasl.mechanisms"])
    func scramOfAnOldLibraryIsWarnedOf(name: String) throws {
        let scram = [name: "SCRAM-SHA-512"]
        let warning = try #require(KafkaProperties.warnings(of: scram, isScramAcceptedByKafka4: false).first)
        #expect(warning.contains("SCRAM-SHA-512 of librdkafka \(KafkaLibrary.version)") && warning.contains("2.6.1"))
        #expect(KafkaProperties.warnings(of: scram, isScramAcceptedByKafka4: true) == [])
        #expect(KafkaProperties.warnings(of: [name: "PLAIN"], isScramAcceptedByKafka4: false) == [])
        #expect(KafkaProperties.warnings(of: [:], isScramAcceptedByKafka4: false) == [])
    }
}
