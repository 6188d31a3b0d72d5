// A fresh database for a test, with Sluice's own tables in it.

import Foundation
import Postgres

@testable import Apply

enum TestDatabase {
    static let isThere = ProcessInfo.processInfo.environment["SLUICE_TEST_POSTGRES_URI"] != nil

    /// The migrations, as one text.
    static func migration(_ prefix: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appending(path: "config/migrations")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        guard let name = names.first(where: { $0.hasPrefix(prefix) }) else { throw CocoaError(.fileNoSuchFile) }
        return try String(contentsOf: folder.appending(path: name), encoding: .utf8)
    }

    static func fresh() async throws -> String {
        let uri = ProcessInfo.processInfo.environment["SLUICE_TEST_POSTGRES_URI"] ?? ""
        let name = "t\(UInt64.random(in: 0...UInt64.max))"
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        _ = try await connection.perform { try $0.executeScript("CREATE DATABASE \(name)") }
        await connection.close()
        return uri.split(separator: " ").filter { !$0.hasPrefix("dbname=") }.joined(separator: " ") + " dbname=\(name)"
    }
}
