// Owns the load of a test: a sluice-loadtest process.

import Foundation
import Glibc
import TestSupport

/// Options of a load.
struct LoadPlan {
    /// `nil`: until ``Load/stopped(within:)``, so that the load lasts as long on a slow machine as on a fast one.
    var events: Int?
    /// Events per second; 0: without a limit.
    var rate = 0
    var keys = 4_000
    /// First id.
    var base = 1
    /// Creates, updates, deletes, upserts.
    var mix = "40:40:15:5"
    var badFraction = 0.0
    var seed: UInt64 = 1
    var payloadBytes = 60
}

/// A running load.
struct Load {
    let process: ChildProcess

    /// Stops producing and waits until all events are acknowledged (and verified, with `--verify`).
    func stopped(within limit: Duration = .seconds(120)) async throws {
        process.signal(SIGTERM)
        try await finished(within: limit)
    }

    /// Waits until all planned events are acknowledged.
    func finished(within limit: Duration = .seconds(120)) async throws {
        let ending = try await process.ended(within: limit)
        guard ending == .exited(0) else { throw Trouble("the load ended with \(ending): \(process.output.suffix(3000))") }
    }
}

extension World {
    /// Starts a producer.
    /// - Parameter extra: further options.
    func load(_ plan: LoadPlan, _ extra: [String] = []) throws -> Load {
        try loadtest(
            plan,
            [
                "--target", "kafka", "--brokers", kafka.bootstrapServers, "--topic", topic, "--property",
                "message.timeout.ms=60000",
            ]
                + extra)
    }

    /// Starts a client of `POST /send`.
    func load(_ plan: LoadPlan, over worker: Worker, _ extra: [String] = []) throws -> Load {
        try loadtest(plan, ["--target", "http", "--url", worker.url + "/send"] + extra)
    }

    private func loadtest(_ plan: LoadPlan, _ target: [String]) throws -> Load {
        let arguments = [
            "--events", "\(plan.events ?? 5_000_000)", "--rate", "\(plan.rate)", "--keys", "\(plan.keys)", "--key-base",
            "\(plan.base)", "--mix", plan.mix, "--bad-fraction", "\(plan.badFraction)", "--seed", "\(plan.seed)", "--skew", "0.6",
            "--payload-bytes", "\(plan.payloadBytes)",
        ]
        return Load(process: try start("sluice-loadtest", target + arguments, named: "load-\(plan.base)"))
    }
}
