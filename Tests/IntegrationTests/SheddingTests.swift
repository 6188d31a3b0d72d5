// Tests load shedding while the database hangs: it starts before the lag is twice its threshold, and ends by itself.

import Foundation
import Postgres
import TestSupport
import Testing

/// The summary of sluice-loadtest.
private struct LoadSummary: Decodable {
    let acknowledged: Int
    let shed: Int
}

extension EndToEnd {
    /// `SLUICE_TEST_FREEZE=full`: for 60 s instead of 20. All acknowledged events are compared with the table.
    @Test(arguments: ["all", "ingress"]) func theDatabaseStandsStillWhileClientsPost(role: String) async throws {
        try await World.run("shed-\(role)", partitions: 6, onServerOfItsOwn: true) { world in
            let isFull = ProcessInfo.processInfo.environment["SLUICE_TEST_FREEZE"] == "full"
            let seconds = isFull ? 60 : 20
            let rate = 400
            let threshold = rate * (isFull ? 20 : 6)
            let settings = ["SLUICE_LIMITS_SHED_LAG_RECORDS": "\(threshold)", "SLUICE_LIMITS_SHED_LONGEST_RETRY": "7s"]
            let worker = try await world.worker("worker", role: role == "all" ? "all" : "worker", settings)
            let ingress = role == "all" ? worker : try await world.worker("ingress", role: "ingress", settings)
            try await world.hasPartitions(worker, 6)
            try await world.reached("the ingress is ready") { try await ingress.get("/readyz").status == 200 }
            let file = world.directory.appendingPathComponent("load.json")
            let load = try world.load(
                LoadPlan(rate: rate, keys: 50_000), over: ingress,
                [
                    "--connections", "32", "--verify", "--postgres", world.database, "--group", world.group, "--json", file.path,
                    "--verify-timeout", "120",
                ])
            try await world.progress(Int64(2 * rate))
            // In role ingress the lag is known once the group has committed offsets.
            try await world.reached("the lag is known") { try await ingress.shedSignal("lag") == 1 }
            try #require(
                try await ingress.metric("sluice_shed_requests_total") == 0,
                "requests were shed while the database was fast enough")

            let watch = try await world.frozen { try await ingress.watchShedding(for: .seconds(seconds)) }
            print("shed-\(role): \(watch), threshold \(threshold)")
            try #require(watch.lagAtFirst.map { $0 < Double(threshold) * 1.5 } == true, "\(watch)")
            try #require(watch.mostLag < Double(2 * threshold), "\(watch)")
            try #require(watch.mostShare > 0.1, "\(watch)")
            let ready = try await ingress.get("/readyz")
            try #require(ready.status == 200, "some requests are admitted: \(ready.body)")

            try await world.reached("all requests are admitted again", within: .seconds(60)) {
                try await ingress.metric("sluice_shed_share") == 0
            }
            let refused = try await ingress.metric("sluice_shed_requests_total")
            try await world.progress(Int64(4 * rate))
            try #require(
                try await ingress.metric("sluice_shed_requests_total") == refused, "requests were shed after the recovery")
            try await load.stopped(within: .seconds(180))
            try #require(load.process.output.contains("VERIFIED"))
            let summary = try JSONDecoder().decode(LoadSummary.self, from: Data(contentsOf: file))
            try #require(Double(summary.shed) == refused, "the client has seen \(summary.shed) refusals, the ingress \(refused)")
            try await world.expectExact()
        }
    }

    /// The response to a shed request.
    @Test func aShedRequestIsToldWhenToRetry() async throws {
        try await World.run("shed-answer", partitions: 2, onServerOfItsOwn: true) { world in
            let worker = try await world.worker("worker", role: "all", ["SLUICE_LIMITS_SHED_LAG_RECORDS": "200"])
            try await world.hasPartitions(worker, 2)
            func post(_ id: Int) async throws -> HTTPAnswer {
                try await worker.send(#"{"action":"Upsert","message_id":\#(id),"data":{"name":"a","message":"b"}}"#)
            }
            try #require(try await post(1).status == 200)
            try await world.reached("the first event is applied") { try await world.applied() == 1 }
            try await world.frozen {
                var refusal: HTTPAnswer?
                var accepted = 0
                let deadline = ContinuousClock.now + .seconds(30)
                while refusal == nil, ContinuousClock.now < deadline {
                    let answer = try await post(2 + accepted)
                    if answer.status == 200 { accepted += 1 } else { refusal = answer }
                }
                let answer = try #require(refusal, "\(accepted) events were accepted")
                // Events accepted since the last sample of the offsets may be counted twice: so no request is shed below half the
                // threshold.
                try #require((100..<400).contains(accepted), "\(accepted) events were accepted")
                try #require(answer.status == 503)
                try #require(answer.headers["content-type"] == "application/problem+json")
                try #require(answer.body.contains(#""cause":"lag""#) && answer.body.contains(#""possibly_persisted":false"#))
                let wait = try #require(answer.headers["retry-after"].flatMap { Int($0) })
                try #require((1...90).contains(wait))
                try #require(try await worker.get("/readyz").body.contains(#""shedding":{"share":"#))
            }
            try await world.reached("all requests are admitted again", within: .seconds(60)) {
                try await worker.metric("sluice_shed_share") == 0
            }
        }
    }
}

/// An ingress's shedding metrics over time.
private struct SheddingWatch: CustomStringConvertible {
    /// Lag of all partitions when the first refusal was counted.
    var lagAtFirst: Double?
    var mostLag = 0.0
    var mostShare = 0.0
    var refused = 0.0

    var description: String {
        "first refusal at a lag of \(lagAtFirst.map { "\(Int($0))" } ?? "-"), at most \(Int(mostLag)), share at most \(mostShare), "
            + "\(Int(refused)) refused"
    }
}

extension Worker {
    /// 1 where the level of a cause is known.
    fileprivate func shedSignal(_ cause: String) async throws -> Double {
        try await metric("sluice_shed_signal_known{cause=\"\(cause)\"}")
    }

    /// Samples the metrics ten times a second, for this duration.
    fileprivate func watchShedding(for duration: Duration) async throws -> SheddingWatch {
        var watch = SheddingWatch()
        let end = ContinuousClock.now + duration
        while ContinuousClock.now < end {
            let lag = try await metric("kafka_consumergroup_lag")
            watch.refused = try await metric("sluice_shed_requests_total")
            watch.mostShare = max(watch.mostShare, try await metric("sluice_shed_share"))
            watch.mostLag = max(watch.mostLag, lag)
            if watch.refused > 0, watch.lagAtFirst == nil { watch.lagAtFirst = lag }
            try await Task.sleep(for: .milliseconds(100))
        }
        return watch
    }
}
