// Tests POST /send with a real Kafka.

import Foundation
import TestSupport
import Testing

/// The summary of sluice-loadtest.
private struct LoadSummary: Decodable {
    let acknowledged: Int
    let unknown: Int
}

extension EndToEnd {
    /// An event that was answered 200 is in the log and will be in the table, whatever happens to the broker and the ingress.
    @Test func everyAcknowledgementIsKept() async throws {
        try await World.run("ingress", partitions: 6) { world in
            _ = try await world.worker("worker")
            let ingress = try await world.worker("ingress", role: "ingress")
            try await world.reached("the ingress is ready") { try await ingress.get("/readyz").status == 200 }
            let first = try await world.posted(LoadPlan(events: 4_000, keys: 1_000), to: ingress)
            try #require(first.acknowledged == 4_000)
            try #require(try await world.ends().values.reduce(0, +) == 4_000)
            try await world.expectExact()

            // Without a broker.
            await world.kafka.kill()
            let event = #"{"action":"Create","message_id":900001,"data":{"name":"a","message":"b"}}"#
            let refused = try await ingress.send(event)
            try #require(refused.status == 503)
            try #require(refused.body.contains("possibly_persisted"))
            try #require(refused.headers["retry-after"].flatMap { Int($0) } ?? 0 >= 1)
            try await world.kafka.start()
            try await world.reached("events are accepted again") {
                try await ingress.send(event).status == 200
            }

            // SIGTERM under load: the load's own model has the events that were acknowledged.
            let load = try world.load(
                LoadPlan(rate: 1_500, keys: 2_000, base: 10_000), over: ingress,
                [
                    "--connections", "32", "--verify", "--postgres", world.database, "--group", world.group, "--max-uncertain",
                    "0.1",
                ])
            try await world.progress(1_500)
            try #require(try await ingress.terminate() == .exited(0))
            try await load.stopped()
            try #require(load.process.output.contains("VERIFIED"))
            try await world.expectExact()
        }
    }

    /// The same for the events of batches, each with its own result: the broker is killed meanwhile, then the ingress ends.
    @Test func everyAcknowledgementInABatchIsKept() async throws {
        try await World.run("batches", partitions: 6) { world in
            _ = try await world.worker("worker")
            let ingress = try await world.worker("ingress", role: "ingress", ["SLUICE_KAFKA_MESSAGE_TIMEOUT": "2s"])
            try await world.reached("the ingress is ready") { try await ingress.get("/readyz").status == 200 }
            let load = try world.load(
                LoadPlan(rate: 4_000, keys: 5_000), over: ingress,
                [
                    "--batch", "50", "--connections", "16", "--verify", "--postgres", world.database, "--group", world.group,
                    "--max-uncertain", "0.5",
                ])
            try await world.progress(4_000)
            await world.kafka.kill()
            try await Task.sleep(for: .seconds(3))
            try await world.kafka.start()
            try await world.reached("events are accepted again") { try await ingress.get("/readyz").status == 200 }
            // Batches are accepted again, and their events are applied.
            try await world.progress(4_000)
            let metrics = try await ingress.get("/metrics").body
            try #require(metrics.contains(#"sluice_http_requests_total{route="/send",status="200"}"#))
            try #require(try await ingress.terminate() == .exited(0))
            try await load.stopped()
            try #require(load.process.output.contains("VERIFIED"))
            try await world.expectExact()
        }
    }

    /// A topic that takes batches of 20 KB: events that fit alone are not refused for what they weigh together.
    @Test func noEventIsTooLargeForItsNeighbours() async throws {
        try await World.run("small-batches", partitions: 1) { world in
            try await world.kafka.tool(
                "kafka-configs.sh",
                [
                    "--bootstrap-server", world.kafka.bootstrapServers, "--alter", "--entity-type", "topics", "--entity-name",
                    world.topic, "--add-config", "max.message.bytes=20000",
                ])
            let ingress = try await world.worker("ingress", role: "ingress")
            try await world.reached("the ingress is ready") { try await ingress.get("/readyz").status == 200 }
            func event(_ id: Int, _ bytes: Int) -> String {
                let text = String(repeating: "x", count: bytes)
                return #"{"action":"Upsert","message_id":\#(id),"data":{"name":"n","message":"\#(text)"}}"#
            }
            let batch = "[" + (1...100).map { event($0, 5_000) }.joined(separator: ",") + "]"
            let answer = try await ingress.send(batch)
            try #require(answer.status == 200, "\(answer.body.prefix(300))")
            try #require(try await ingress.send(event(1, 30_000)).status == 413)
        }
    }
}

extension World {
    fileprivate func posted(_ plan: LoadPlan, to ingress: Worker) async throws -> LoadSummary {
        let file = directory.appendingPathComponent("load.json")
        try await load(plan, over: ingress, ["--connections", "32", "--json", file.path]).finished()
        return try JSONDecoder().decode(LoadSummary.self, from: Data(contentsOf: file))
    }
}
