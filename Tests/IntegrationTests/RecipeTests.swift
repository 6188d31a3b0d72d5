// Runs the commands of docs/limits.md that change a rate limit, and checks their effect.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
    @Test func theDocumentedCommandsChangeARateLimit() async throws {
        try await World.run("recipe", partitions: 2) { world in
            let checkout = TestPostgres.checkout
            let folder = world.directory.appendingPathComponent("recipe")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let config = folder.appendingPathComponent("config")
            try FileManager.default.copyItem(at: checkout.appendingPathComponent("config"), to: config)
            let examples = folder.appendingPathComponent("examples")
            try FileManager.default.copyItem(at: checkout.appendingPathComponent("examples"), to: examples)
            let mapping = examples.appendingPathComponent("messages/mapping.yaml")
            try String(contentsOf: mapping, encoding: .utf8)
                .replacingOccurrences(of: "topics: [messages]", with: "topics: [\(world.topic)]")
                .write(to: mapping, atomically: true, encoding: .utf8)
            let ingress = try await world.worker(
                "ingress", role: "ingress",
                ["SLUICE_KAFKA_BOOTSTRAP_SERVERS": world.kafka.bootstrapServers, "SLUICE_HTTP_PORT": "0"],
                configuration: config.appendingPathComponent("sluice.yaml").path)
            try await world.reached("the ingress is ready") { try await ingress.get("/readyz").status == 200 }

            let page = try String(contentsOf: checkout.appendingPathComponent("docs/limits.md"), encoding: .utf8)
            let blocks = page.components(separatedBy: "\n```").filter { $0.contains("sed -i") && $0.contains("burst") }
            try #require(blocks.count == 1, "docs/limits.md has one block that changes a rate limit")
            // The first line is the block's language.
            let recipe = blocks[0].drop { $0 != "\n" }
                .replacingOccurrences(of: "127.0.0.1:8000", with: "127.0.0.1:\(ingress.port)")
            let shell = try ChildProcess.start(
                "/bin/bash", ["-euc", "cd '\(folder.path)'\n" + recipe], environment: ProcessInfo.processInfo.environment,
                log: folder.appendingPathComponent("recipe.log").path)
            try await world.reached("the commands end") { shell.ending != nil }
            try #require(shell.ending == .exited(0), "\(shell.output)")
            try #require(shell.output.contains("200 200 200 200 200 429 429 429"), "\(shell.output)")
            for line in [
                "sluice_config_generation 2", #"sluice_ratelimit_quota_requests{policy="burst"} 5"#,
                #"sluice_ratelimit_decisions_total{policy="burst",decision="allowed"} 5"#,
                #"sluice_ratelimit_decisions_total{policy="burst",decision="refused"} 3"#,
            ] { try #require(shell.output.contains(line), "\(line) is missing in \(shell.output)") }
        }
    }
}
