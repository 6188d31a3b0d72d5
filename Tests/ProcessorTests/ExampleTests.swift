// Proves that the examples do what they say: each is run as its page tells, and what it prints is compared with a literal table; and that
// `sluice try` says of their events what the worker then does.

import Decode
import Foundation
import Records
import Settings
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

    // MARK: sluice try

    /// Each mapping with events: the folder and the file's name without its ending.
    private static var tried: [(folder: String, name: String)] {
        get throws {
            try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".ndjson") }.sorted().map {
                path in
                let parts = path.dropLast(".ndjson".count).split(separator: "/").map(String.init)
                return (parts[0], parts[1])
            }
        }
    }

    /// All but `routed`: its table of dead letters shows what the route refuses, and its columns are not called as the fields.
    private static var unrouted: [String] { get throws { try examples.filter { $0 != "routed" } } }

    private func sluice(_ arguments: [String], in example: String) async throws -> String {
        let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        return try await run([built.appendingPathComponent("sluice").path] + arguments, in: example)
    }

    private func run(_ command: [String], in example: String) async throws -> String {
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).log")
        defer { try? FileManager.default.removeItem(at: log) }
        let process = try ChildProcess.start(
            "/usr/bin/env", ["-C", Self.folder.appendingPathComponent(example).path] + command,
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"], log: log.path)
        let ending = try await process.ended(within: .seconds(60))
        try #require(ending == .exited(0), "\(command): \(process.output)")
        return process.output
    }

    @Test func everyMappingIsTried() async throws {
        let tried = try Self.tried
        #expect(
            tried.map { "\($0.folder)/\($0.name)" } == [
                "clickstream/clicks", "debezium/customers", "debezium/orders", "debezium/products", "messages/mapping",
                "orders/orders", "routed/accounts", "routed/orders",
            ])
        for (example, name) in tried {
            let output = try await sluice(
                ["try", "--mapping", "\(name).yaml", "--events", "\(name).ndjson", "--expect", "\(name).tried.txt"], in: example)
            #expect(output.hasSuffix("events as expected\n"), "\(output)")
        }
    }

    /// The operations that `try` prints, written to the tables one at a time, leave what `run` leaves.
    @Test(arguments: try unrouted) func whatTryPrintsIsWhatRunDoes(_ example: String) async throws {
        var script = "\\i table.sql\n"
        for (_, name) in try Self.tried.filter({ $0.folder == example }) {
            let output = try await sluice(
                ["try", "--mapping", "\(name).yaml", "--events", "\(name).ndjson", "--json"], in: example)
            let path = Self.folder.appendingPathComponent("\(example)/\(name).yaml").path
            let table = try #require(try Mapping.compile([YAML.load(path: path)]).first).table
            let version = table.version.map { table.columns[$0.column].name }
            for line in output.split(separator: "\n") {
                script += try JSONDecoder().decode(Tried.self, from: Data(line.utf8)).sql(table.name, version: version)
            }
        }
        script += "\\i result.sql\n"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).sql")
        defer { try? FileManager.default.removeItem(at: file) }
        try script.write(to: file, atomically: true, encoding: .utf8)
        let output = try await run(
            [
                "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", try await TestPostgres.database(), "-f", file.path,
            ], in: example)
        let expected = try String(contentsOf: Self.folder.appendingPathComponent("\(example)/expected.txt"), encoding: .utf8)
        #expect(output == expected, "\(script)")
    }

    /// The suggestion for an example's events takes all of them, with its table and without.
    @Test(arguments: try unrouted) func aSuggestedMappingTakesTheEvents(_ example: String) async throws {
        for (_, name) in try Self.tried.filter({ $0.folder == example }) {
            let events = Self.folder.appendingPathComponent("\(example)/\(name).ndjson")
            let records = try EventFile.lines(of: Array(Data(contentsOf: events)), file: name, topic: name).map(\.batch)
            let outline = try #require(Self.outlines["\(example)/\(name)"])
            for (known, key) in [(nil, nil), (outline, outline.key)] {
                let text = try MappingSuggestion.text(of: records, topic: name, table: name, outline: known)
                let mapping = try #require(try Mapping.compile([YAML.parse(text: text, file: "suggested.yaml")]).first)
                if let key { #expect(mapping.table.key.map { mapping.table.columns[$0].name } == key, "\(text)") }
                let decoder = Decoder(mapping: mapping)
                for batch in records {
                    let line = decoder.trial(of: batch).line
                    #expect(line.hasPrefix("refused") == false && line.hasPrefix("skipped") == false, "\(line)\n\(text)")
                }
            }
        }
    }

    /// The tables of the examples, much as their `table.sql` makes them.
    private static let outlines: [String: TableOutline] = [
        "clickstream/clicks": outline(
            "at timestamp with time zone, visitor uuid, path text, milliseconds real, properties jsonb", key: []),
        "debezium/customers": outline("id integer, name text, bio text, born date, source_lsn bigint", key: ["id"]),
        "debezium/products": outline(
            "sku text, price numeric(10.2), attributes jsonb, updated timestamp without time zone", key: ["sku"]),
        "debezium/orders": outline(
            "order_id bigint, line smallint, sku text, quantity integer, at timestamp with time zone", key: ["order_id", "line"]),
        "orders/orders": outline(
            "tenant text, order_id bigint, version integer, status text, total numeric(12.2), tags text[], details jsonb, first_source text, "
                + "placed_at timestamp with time zone, cancelled_at timestamp with time zone", key: ["tenant", "order_id"]),
    ]

    private static func outline(_ columns: String, key: [String]) -> TableOutline {
        TableOutline(
            columns: columns.split(separator: ", ").map { column in
                let parts = column.split(separator: " ", maxSplits: 1).map { String($0).replacing(".", with: ",") }
                return TableOutline.Column(name: parts[0], type: parts[1])
            }, key: key)
    }
}

/// A line of `sluice try --json`, as SQL.
private struct Tried: Decodable {
    let operation: String?
    let key: [String: String?]?
    let values: [String: String?]?
    let expressions: [String: String]?
    let occasions: [String: String]?

    /// - Parameter version: the column by which the newer of two events is known.
    func sql(_ table: String, version: String?) throws -> String {
        guard let operation, let key, let values else { return "" }
        func literal(_ text: String?) -> String { text.map { "'\($0.replacing("'", with: "''"))'" } ?? "NULL" }
        var updates: [String] = []
        for (column, value) in values.sorted(by: { $0.key < $1.key }) where occasions?[column] != "on insert" {
            let isMerged = occasions?[column] == "merged"
            updates.append(
                "\(column) = " + (isMerged ? "coalesce(\(table).\(column), '{}') || \(literal(value))::jsonb" : literal(value)))
        }
        updates += (expressions ?? [:]).map { "\($0.key) = \($0.value == "now" ? "now()" : $0.value)" }
        let inserted = key.merging(values.filter { occasions?[$0.key] != "on update" }) { $1 }.sorted { $0.key < $1.key }
        let insert =
            "INSERT INTO \(table) (\(inserted.map(\.key).joined(separator: ", "))) "
            + "VALUES (\(inserted.map { literal($0.value) }.joined(separator: ", ")))"
        let row = key.map { "\($0.key) = \(literal($0.value))" }.joined(separator: " AND ")
        let isNewer = version.map { "\(table).\($0) <= \(literal(values[$0] ?? nil))" }
        let update = "UPDATE \(table) SET \(updates.joined(separator: ", ")) WHERE \(row)" + (isNewer.map { " AND \($0)" } ?? "")
        return switch operation {
        case "append": insert + ";\n"
        case "create": insert + " ON CONFLICT DO NOTHING;\n"
        case "update": update + ";\n"
        case "upsert":
            insert + " ON CONFLICT (\(key.keys.joined(separator: ", "))) DO "
                + (updates.isEmpty ? "NOTHING" : "UPDATE SET \(updates.joined(separator: ", "))")
                + (isNewer.map { " WHERE \($0)" } ?? "") + ";\n"
        case "delete": (updates.isEmpty ? "DELETE FROM \(table) WHERE \(row)" : update) + ";\n"
        default: throw CocoaError(.coderInvalidValue)
        }
    }
}
