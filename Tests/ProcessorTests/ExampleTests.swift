// Proves that the examples do what they say: each is run as its page tells, and what it prints is compared with a literal table.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(3)))
struct ExampleTests {
    private static let folder = TestPostgres.checkout.appendingPathComponent("examples")

    /// All but `messages`, which the demo and most other tests run.
    private static var examples: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
                $0 != "messages" && FileManager.default.fileExists(atPath: folder.appendingPathComponent("\($0)/run").path)
            }.sorted()
        }
    }

    @Test func allOfThemAreFound() throws { #expect(try Self.examples == ["clickstream", "debezium", "orders", "routed"]) }

    @Test(arguments: try examples) func itsRunPrintsTheExpectedTable(_ example: String) async throws {
        let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).log")
        defer { try? FileManager.default.removeItem(at: log) }
        let run = try ChildProcess.start(
            "/usr/bin/env", ["bash", Self.folder.appendingPathComponent("\(example)/run").path],
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "SLUICE": built.appendingPathComponent("sluice").path,
                "SLUICE_POSTGRES_URI": try await TestPostgres.database(),
            ], log: log.path)
        let ending = try await run.ended(within: .seconds(120))
        #expect(ending == .exited(0), "\(run.output)")
        let expected = try String(contentsOf: Self.folder.appendingPathComponent("\(example)/expected.txt"), encoding: .utf8)
        #expect(run.output == expected)
    }
}
