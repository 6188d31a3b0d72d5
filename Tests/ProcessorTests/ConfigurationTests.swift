// Proves that the shipped configuration says what it claims, and that wrong ones are refused with everything that is wrong.

import Apply
import Backpressure
import Decode
import Foundation
import Postgres
import Records
import Settings
import Testing

@testable import sluice

private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

private func load(_ text: String, environment: [String: String] = [:]) throws -> Configuration {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let file = directory.appendingPathComponent("sluice.yaml")
    try Data(text.utf8).write(to: file)
    return try Configuration.load(path: file.path, environment: environment)
}

private func faults(_ text: String, environment: [String: String] = [:]) -> [String] {
    do {
        _ = try load(text, environment: environment)
        return []
    } catch let error as SettingsFaults {
        return error.faults.map(\.description)
    } catch {
        return ["unexpected: \(error)"]
    }
}

@Suite struct ConfigurationTests {
    @Test func theShippedFileSetsEveryKeyToItsDefaultAndNamesTheExample() throws {
        let examples = [
            "mappings": "[../examples/messages/mapping.yaml]", "postgres.migrations": "../examples/messages/migrations",
        ]
        let configuration = try Configuration.load(path: "\(root)/config/sluice.yaml", environment: [:])
        let defaults = SluiceSettings.schema.survey(SettingsSource()).settings
        for (shipped, standard) in zip(configuration.effective.entries, defaults.entries) {
            #expect(shipped.key == standard.key)
            if case .defaults = shipped.origin { Issue.record("config/sluice.yaml does not show \(shipped.key)") }
            let example = examples[shipped.key].map { $0.replacingOccurrences(of: "../", with: "\(root)/config/../") }
            #expect(shipped.text == example ?? standard.text, "\(shipped.key) is not at its default")
        }
    }

    @Test func theShippedMappingIsTheContractsOwn() throws {
        let mapping = try Configuration.load(path: "\(root)/config/sluice.yaml", environment: [:]).mappings[0]
        #expect(mapping.topics == ["messages"])
        #expect(mapping.table.name == "messages")
        #expect(mapping.table.columns.map(\.name) == ["message_id", "name", "message"])
        #expect(mapping.table.columns.map(\.type) == [.int4, .text, .text])
        #expect(mapping.table.onUpdate.map(\.column) == ["last_updated"])
    }

    @Test func theReferenceOfAllKeysIsUpToDate() throws {
        let written = try String(contentsOfFile: "\(root)/docs/configuration.md", encoding: .utf8)
        #expect(
            written == SluiceSettings.reference,
            "docs/configuration.md is not what `sluice configuration-reference` prints; write it anew")
    }

    @Test func theTableOfOutcomesIsTheBuiltInOne() throws {
        let text = try String(contentsOfFile: "\(root)/docs/errors.md", encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }
        for (state, reaction) in OutcomeTable.defaults {
            #expect(rows.contains { $0.hasPrefix("| `\(state)` | `\(reaction.rawValue)` |") }, "docs/errors.md lacks \(state)")
        }
        #expect(rows.count == OutcomeTable.defaults.count)
    }

    @Test func allFaultsComeAtOnceEachWithItsPlace() {
        let found = faults(
            """
            kafka:
              bootstrap_server: x
              properties: {acks: 1, foo.bar: 2}
            pipeline: {memory_budget_bytes: 5}
            http: {host: 0.0.0.0}
            mapings: []
            apply: {outcomes: {"99999x": stop, "23514": shrug}}
            """, environment: ["SLUICE_KAFKA_GROUP": "a", "SLUICE_HTTP_PORT": "70000"])
        let expected = [
            "sluice.yaml:2: kafka.bootstrap_server: is not a known key; did you mean kafka.bootstrap_servers?",
            "properties.acks", "properties.foo.bar", "memory_budget_bytes: must be between", "must be a loopback address",
            "did you mean mappings?", "99999x", "shrug", "SLUICE_KAFKA_GROUP", "SLUICE_HTTP_PORT",
        ]
        for part in expected { #expect(found.contains { $0.contains(part) }, "no fault says \(part): \(found)") }
        #expect(!found.contains { $0.contains("mapping.yaml") }, "the files are named, by another key: \(found)")
    }

    /// The line that names a mapping file is the one to correct, and a file that is named twice is one fault.
    @Test func mappingFilesThatCannotBeReadAreFaultsOfTheKeyThatNamesThem() throws {
        let folder = try folder(["orders": "[orders]"])
        defer { try? FileManager.default.removeItem(at: folder) }
        let orders = "\(folder.path)/orders.yaml"
        let missing = faults("kafka: {}\nmappings: [\(folder.path)/oders.yaml]")
        #expect(missing.count == 1 && missing[0].contains("sluice.yaml:2: mappings: \(folder.path)/oders.yaml cannot be opened"))
        #expect(missing.first?.hasSuffix("; did you mean orders.yaml?") == true, "\(missing)")
        let unset = faults("kafka: {}")
        #expect(unset.count == 1 && unset[0].contains("mapping.yaml, which is read then, cannot be opened"), "\(unset)")
        for other in [orders, "\(folder.path)/x/../orders.yaml"] {
            let twice = faults("mappings: [\(orders), \(other)]")
            #expect(twice.count == 1 && twice[0].contains("is named twice"), "\(twice)")
        }
        let single = faults("mappings: \(orders)")
        #expect(single.count == 1 && single[0].contains("must be a list"), "\(single)")
    }

    /// Mapping files of a test, by name; what it returns is their folder.
    private func folder(_ files: [String: String]) throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-route-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (name, topics) in files {
            let text = """
                topics: \(topics)
                table: \(name)
                key: [id]
                envelope: upsert
                columns: {id: {path: /id, type: int4}}
                """
            try text.write(to: folder.appendingPathComponent("\(name).yaml"), atomically: true, encoding: .utf8)
        }
        return folder
    }

    @Test func theTablesOfTheRouteAreMappingsInTheirOrder() throws {
        let folder = try folder(["z": "[shop, z]", "a": "[shop]", "plain": "[plain]"])
        defer { try? FileManager.default.removeItem(at: folder) }
        let (z, a, plain) = ("\(folder.path)/z.yaml", "\(folder.path)/a.yaml", "\(folder.path)/plain.yaml")
        // Two values may have one file, and a file may stand in mappings, too.
        let route = "route: {by: /type, tables: {order: \(z), invoice: \(a), bill: \(z)}, otherwise: skip}"
        for mappings in ["[\(plain)]", "[\(plain), \(z)]"] {
            let configuration = try load("mappings: \(mappings)\n\(route)")
            #expect(configuration.mappings.map(\.name) == ["plain", "z", "a"] && configuration.routes.routed == [1, 2])
            #expect(configuration.routes.mapping(of: "shop") == 3 && configuration.routes.mapping(of: "z") == 1)
            #expect(configuration.topics.sorted() == ["plain", "shop", "z"] && configuration.route != nil)
            #expect(try configuration.ingressTopic(of: .all) == "plain")
        }
        let alone = try load(
            "mappings: []", environment: ["SLUICE_ROUTE_BY": "header.kind", "SLUICE_ROUTE_TABLES": "z=\(z), a=\(a)"])
        #expect(alone.mappings.map(\.name) == ["z", "a"])
        #expect(try alone.ingressTopic(of: .ingress) == "shop", "the first one, however it is routed")
    }

    @Test func faultsOfTheRoute() throws {
        let folder = try folder(["a": "[shop]", "b": "[shop]", "c": "[other]", "plain": "[shop]"])
        defer { try? FileManager.default.removeItem(at: folder) }
        func one(_ route: String, _ part: String, _ mappings: String = "[]", line: String = "sluice.yaml:2") {
            let all = faults("mappings: \(mappings)\nroute: \(route)".replacingOccurrences(of: "@", with: folder.path))
            #expect(all.count == 1 && all[0].contains(part) && all[0].contains(line), "\(all)")
        }
        let tables = "tables: {x: @/a.yaml, y: @/b.yaml}"
        one(
            "{by: type, \(tables)}",
            "route.by: must be a JSON Pointer such as /type, header.NAME or topic, is type; did you mean /type?")
        one("{by: headers.kind, \(tables)}", "did you mean header.kind?")
        one("{by: topics, \(tables)}", "did you mean topic?")
        one("{by: /type, \(tables), otherwise: dead_leter}", "did you mean dead_letter?")
        one("{by: /type, tables: {}}", "must be given together", "[@/a.yaml]")
        one("{\(tables)}", "must be given together", "[@/c.yaml]")
        one("{by: /type, tables: {x: @/a.yaml, y: @/missing.yaml}}", "missing.yaml cannot be opened", line: "sluice.yaml")
        one("{by: /type, \(tables)}", "topic 'shop' is also in", "[@/plain.yaml]", line: "a.yaml:1")
        one("{by: /type, tables: {x: @/a.yaml, y: @/c.yaml}}", "route.tables: no topic is in two of these mappings")
        one("{table: {x: @/a.yaml}}", "route.table: is not a known key; did you mean route.tables?", "[@/a.yaml]")
        one("{}", "must name at least one mapping file", line: "sluice.yaml:1")
        one(
            "{by: topic, tables: {shop: @/a.yaml, y: @/b.yaml}}",
            "route.tables: y is not a topic of b; with by: topic the values are topics"
        )
    }

    @Test func eventsOfARoutedTopicAreCheckedByTheirMapping() throws {
        let folder = try folder(["a": "[shop]", "b": "[shop]", "plain": "[plain]"])
        defer { try? FileManager.default.removeItem(at: folder) }
        try "topics: [shop]\ntable: b\nkey: [no]\nenvelope: upsert\ncolumns: {no: {path: /no, type: text}}"
            .write(to: folder.appendingPathComponent("b.yaml"), atomically: true, encoding: .utf8)
        let configuration = try load(
            "mappings: []\nroute: {by: /type, tables: {x: \(folder.path)/a.yaml, y: \(folder.path)/b.yaml}}")
        let topic = try #require(try configuration.ingressTopic(of: .all))
        #expect(topic == "shop")
        let validator = configuration.validator(of: topic)
        func answer(_ event: String) -> String {
            var bytes = ByteBuffer()
            var key = ByteBuffer()
            Array(event.utf8).withUnsafeBytes { bytes.append($0) }
            if let fault = validator.validate(bytes.bytes, key: &key) { return "\(fault.reason): \(fault.detail)" }
            return validator.hasKey ? String(decoding: key.bytes, as: UTF8.self) : "no key"
        }
        #expect(answer(#"{"type":"x","id":7}"#) == "7")
        #expect(answer(#"{"type":"y","no":"A"}"#) == "A")
        #expect(answer(#"{"type":"x","no":"A"}"#).hasPrefix("missing_field: "))
        #expect(answer(#"{"type":"z"}"#) == "no_route: /type must be one of x, y, the tables of the route")
    }

    @Test func theFileOfTheConnectionStringIsKeptForLaterConnections() throws {
        let mapping = "mappings: [\(root)/examples/messages/mapping.yaml]"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-uri-\(UUID().uuidString)").path
        try "host=a\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let settings = try load(
            mapping, environment: ["SLUICE_POSTGRES_URI_FILE": file, "SLUICE_POSTGRES_PASSWORD_COMMAND": "token,--for,db"]
        ).settings
        for connection in [settings.postgres.connection(name: "x"), settings.postgres.operatorConnection] {
            #expect(connection.uri == "host=a" && connection.uriFile == file)
            #expect(connection.passwordCommand == ["token", "--for", "db"])
        }
        // What comes from a pipe can be read only once.
        let pipe = file + "-pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        defer { try? FileManager.default.removeItem(atPath: pipe) }
        let writer = Thread { try? "host=b".write(toFile: pipe, atomically: false, encoding: .utf8) }
        writer.start()
        #expect(try load(mapping, environment: ["SLUICE_POSTGRES_URI_FILE": pipe]).settings.postgres.uriFile == nil)
        #expect(try load(mapping, environment: ["SLUICE_POSTGRES_URI": "host=c"]).settings.postgres.uriFile == nil)
        #expect(
            faults(mapping + "\npostgres: {password_command: ['']}").contains {
                $0.contains("postgres.password_command: must begin with a program")
            })
    }

    @Test func renamedKeysAreRefusedWithTheNewName() {
        let found = faults(
            "kafka: {kicker: true}\nmappings: [\(root)/examples/messages/mapping.yaml]\npipeline: {mirror_interval: 1s}\n"
                + "apply: {coalesce: auto, foreign_key_timeout: 1s}\n",
            environment: ["SLUICE_KAFKA_KICKER": "false", "SLUICE_APPLY_COALESCE": "true"])
        let expected = [
            "sluice.yaml:1: kafka.kicker: was renamed to kafka.fetch_wakeup; write that",
            "sluice.yaml:3: pipeline.mirror_interval: was renamed to pipeline.offset_commit_interval; write that",
            "sluice.yaml:4: apply.coalesce: has moved; set write: in the mapping file (auto, coalesce, rounds, sequential)",
            "sluice.yaml:4: apply.foreign_key_timeout: was renamed to apply.constraint_timeout; write that",
            "SLUICE_APPLY_COALESCE: apply.coalesce: has moved; unset the variable and set write: in the mapping file (auto, coalesce, "
                + "rounds, sequential)",
            "SLUICE_KAFKA_KICKER: kafka.kicker: was renamed to kafka.fetch_wakeup; set SLUICE_KAFKA_FETCH_WAKEUP",
        ]
        #expect(found.count == expected.count && zip(found, expected).allSatisfy { $0.hasSuffix($1) }, "\(found)")
    }

    @Test func limitsOfReadingAreReadByTopic() throws {
        let mapping = "mappings: [\(root)/examples/messages/mapping.yaml]"
        let limits = try load(
            mapping + "\nlimits: {consume: {bytes_per_second: 1MiB, topics: {messages: {events_per_second: 5}}}}",
            environment: ["SLUICE_LIMITS_CONSUME_EVENTS_PER_SECOND": "7"]
        ).settings.limits.consume
        #expect(limits.all == .init(events: 7, bytes: 1 << 20))
        #expect(limits.topics == ["messages": .init(events: 5)])
        let found = faults(mapping + "\nlimits: {consume: {topics: {message: {events_per_second: 5}}}}")
        #expect(found.count == 1)
        #expect(found.first?.hasSuffix("no mapping reads a topic message; did you mean messages?") == true, "\(found)")
    }

    @Test func secretsAreCovered() throws {
        let configuration = try load(
            "mappings: [\(root)/examples/messages/mapping.yaml]",
            environment: [
                "SLUICE_POSTGRES_URI": "postgres://u:geheim@h/db", "SLUICE_KAFKA_PROPERTIES": "sasl.password=streng",
            ])
        #expect(configuration.settings.postgres.uri == "postgres://u:geheim@h/db")
        #expect(configuration.settings.kafka.properties == ["sasl.password": "streng"])
        #expect(!configuration.effective.yaml.contains("geheim"))
        #expect(!configuration.effective.yaml.contains("streng"))
    }

    @Test func theAdminTokenComesFromAFileAndIsNeverShown() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("token-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("sehr-geheimes-wort\n".utf8).write(to: file)
        let configuration = try load(
            "mappings: [\(root)/examples/messages/mapping.yaml]", environment: ["SLUICE_HTTP_ADMIN_TOKEN_FILE": file.path])
        #expect(configuration.settings.http.adminToken == "sehr-geheimes-wort")
        #expect(!configuration.effective.yaml.contains("geheim"))
        for weak in ["geheim", "sehr geheimes wort"] {
            let found = faults(
                "mappings: [\(root)/examples/messages/mapping.yaml]", environment: ["SLUICE_HTTP_ADMIN_TOKEN": weak])
            #expect(found.count == 1 && found[0].contains("at least 16 characters"), "\(found)")
            #expect(!found.joined().contains("geheim"))
        }
    }

    @Test func tokensComeByNameFromAFileAndAreNeverShown() throws {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("tokens-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("# who may send\nbilling: sehr-geheimes-wort\nshop: 1234567890123456\n".utf8).write(to: file)
        let configuration = try load(mappings + "http: {host: 0.0.0.0}", environment: ["SLUICE_HTTP_TOKENS_FILE": file.path])
        #expect(configuration.settings.http.tokens == ["billing": "sehr-geheimes-wort", "shop": "1234567890123456"])
        #expect(configuration.effective.yaml.contains(#"tokens: {billing: "***", shop: "***"}"#))
        let inline = try load(mappings + "http: {tokens: {billing: sehr-geheimes-wort}}").settings.http.tokens
        #expect(inline == ["billing": "sehr-geheimes-wort"])
        #expect(
            try load(mappings, environment: ["SLUICE_HTTP_TOKENS": "{billing: sehr-geheimes-wort}"]).settings.http.tokens
                == inline)
        for wrong in [
            "{billing: geheim}", "{billing: sehr geheimes wort}", "{a b: sehr-geheimes-wort}", "geheim-aber-ohne-namen",
            "{a: sehr-geheimes-wort, b: sehr-geheimes-wort}", "{a: sehr-geheimes-wort", "{a: [sehr-geheimes-wort]}",
            "{a: \(String(repeating: "geheim", count: 50))}", "{a: sehr-geheimes-wort, a: ganz-geheimes-wort}",
        ] {
            let found = faults(mappings, environment: ["SLUICE_HTTP_TOKENS": wrong])
            #expect(found.count == 1 && found[0].contains("http.tokens"), "\(wrong): \(found)")
            #expect(!found.joined().contains("geheim"), "\(found)")
        }
    }

    /// An empty text is not "no tokens": what was to be there may have been lost. And no fault shows a token, wherever it stands.
    @Test func tokensThatHoldNothingAreRefused() throws {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("tokens-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        for nothing in ["", "\n", "# billing: sehr-geheimes-wort\n", "~"] {
            try Data(nothing.utf8).write(to: file)
            for key in ["TOKENS", "ADMIN_TOKEN", "METRICS_TOKEN"]
            where key == "TOKENS" || !nothing.contains(where: { "#~".contains($0) }) {
                let found = faults(mappings, environment: ["SLUICE_HTTP_\(key)_FILE": file.path])
                #expect(found.count == 1 && found[0].contains("holds nothing"), "\(nothing): \(found)")
            }
        }
        #expect(
            faults(mappings, environment: ["SLUICE_HTTP_TOKENS": ""]).first?.contains("holds nothing; write {} for none") == true)
        #expect(faults(mappings + "http: {tokens: }").first?.contains("holds nothing; write {} for none") == true)
        #expect(faults(mappings + "http: {tokens: {}}", environment: ["SLUICE_HTTP_TOKENS": "{}"]).isEmpty)
        for wrong in ["geheim-ohne-namen:", "geheim: [a]\ngeheim: b", "geheim: {x: y}", "*geheim", "- geheim", "a: !geheim x"] {
            let found = faults(mappings, environment: ["SLUICE_HTTP_TOKENS": wrong])
            #expect(!found.isEmpty && !found.joined().contains("geheim"), "\(wrong): \(found)")
        }
        // A whole file of properties under the name of one.
        try Data("security.protocol=SSL\nsasl.password=geheim\n".utf8).write(to: file)
        for name in ["KAFKA_PROPERTIES_SECURITY_PROTOCOL", "HTTP_PORT", "LOG_LEVEL"] {
            let found = faults(mappings, environment: ["SLUICE_\(name)_FILE": file.path])
            #expect(found.count == 1 && !found.joined().contains("geheim"), "\(name): \(found)")
        }
    }

    @Test func aTokenHasOnePurpose() {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        let (one, two) = ("sehr-geheimes-wort", "ganz-geheimes-wort")
        for http in [
            "{tokens: {a: \(one)}, admin_token: \(one)}", "{tokens: {a: \(two), b: \(one)}, metrics_token: \(one)}",
            "{admin_token: \(one), metrics_token: \(one)}",
        ] {
            let found = faults(mappings + "http: \(http)")
            #expect(found.count == 1 && found[0].contains("must not hold a token that has another purpose"), "\(found)")
            #expect(!found.joined().contains("geheim"))
        }
        #expect(faults(mappings + "http: {tokens: {a: \(one)}, admin_token: \(two)}").isEmpty)
    }

    @Test func proxiesAreNetworks() throws {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        let http = try load(mappings + "http: {trusted_proxies: [10.0.0.0/8, \"::1\"]}").settings.http
        #expect(http.trustedProxies.map(\.description) == ["10.0.0.0/8", "::1"])
        let found = faults(mappings, environment: ["SLUICE_HTTP_TRUSTED_PROXIES": "1"])
        #expect(
            found.count == 1 && found[0].contains("must be an IP address or network such as 10.0.0.7 or 10.0.0.0/8, is 1"),
            "\(found)")
    }

    @Test func theURLOfAnIPv6AddressHasBrackets() {
        var http = HTTPSettings()
        #expect(http.url(port: 8000) == "http://127.0.0.1:8000")
        http.host = "::1"
        (http.tlsCertificate, http.tlsKey) = ("c", "k")
        #expect(http.url(port: 1) == "https://[::1]:1")
    }

    @Test func anAddressElsewhereWantsTokensOrAnExplicitWord() {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        for host in ["0.0.0.0", "::", "10.0.0.7", "sluice.example", "127.0.0.1.example", ""] {
            let found = faults(mappings + "http: {host: \"\(host)\"}")
            #expect(
                found.count == 1 && found[0].contains("unless there are tokens or allow_unauthenticated is true"),
                "\(host): \(found)")
            #expect(faults(mappings + "http: {host: \"\(host)\", allow_unauthenticated: true}").isEmpty)
            #expect(faults(mappings + "http: {host: \"\(host)\", tokens: {a: sehr-geheimes-wort}}").isEmpty)
        }
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
            #expect(faults(mappings + "http: {host: \"\(host)\"}").isEmpty)
        }
    }

    @Test func aCertificateNeedsItsKeyAndBothMustBeThere() {
        let mappings = "mappings: [\(root)/examples/messages/mapping.yaml]\n"
        let half = faults(mappings + "http: {tls_certificate: a.pem}")
        #expect(half.count == 1 && half[0].contains("must be set together"), "\(half)")
        let missing = faults(mappings + "http: {tls_certificate: a.pem, tls_key: a.key}")
        #expect(missing.count == 1 && missing[0].contains("/a.pem cannot be opened: No such file"), "\(missing)")
        #expect(missing[0].contains("sluice.yaml:2: http.tls_certificate"), "\(missing)")
    }
}

@Suite struct ShippedFileTests {
    /// Each key's comment in the shipped file is its help, and the choices it has.
    @Test func theCommentsOfTheShippedFileAreTheHelpOfTheKeys() throws {
        var comments: [String: String] = [:]
        var path: [Substring] = []
        var comment: [Substring] = []
        for line in try String(contentsOfFile: "\(root)/config/sluice.yaml", encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
        {
            let text = line.drop { $0 == " " }
            if text.hasPrefix("#") {
                comment.append(text.dropFirst(2))
            } else if text.isEmpty {
                comment = []
            } else if !text.hasPrefix("-"), let colon = text.firstIndex(of: ":") {
                path = path.prefix((line.count - text.count) / 2) + [text[..<colon]]
                comments[path.joined(separator: ".")] = comment.flatMap { $0.split(separator: " ") }.joined(separator: " ")
                comment = []
            }
        }
        for key in SluiceSettings.schema.keys where !key.path.contains("[") && !key.path.contains(".NAME.") {
            let expected = key.help + (key.type == "choice" ? " One of: \(key.bounds)." : "")
            #expect(
                comments[key.path]?.hasPrefix(expected) == true, "config/sluice.yaml does not say of \(key.path): \(expected)")
        }
    }
}
