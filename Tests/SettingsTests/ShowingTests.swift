// Checks what people see of settings: the effective configuration, the key table, covered secrets, and guesses.

import Platform
import Settings
import TestSupport
import Testing

@Suite struct ShowingTests {
    @Test func effectiveConfigurationNamesWhoSetWhat() throws {
        let settings = try #require(
            Fixture.read(
                """
                kafka:
                  password: hunter2
                  properties: {sasl.password: hunter2, fetch.min.bytes: 1, "a b": "c: d"}
                mappings: [a.yaml]
                policies: [{name: "a, b"}]
                """,
                environment: [
                    "SLUICE_POSTGRES_URI": "postgres://sluice:hunter2@db/app", "SLUICE_PIPELINE_DWELL": "90",
                    "SLUICE_PIPELINE_WATCHDOG_ENABLED": "false",
                ]
            ).settings)
        #expect(
            settings.yaml == """
                kafka:
                  bootstrap_servers: 127.0.0.1:9092  # default
                  password: "***"  # config/sluice.yaml:2
                  auto_offset_reset: earliest  # default
                  properties: {a b: "c: d", fetch.min.bytes: 1, sasl.password: "***"}  # config/sluice.yaml:3
                postgres_uri: postgres://sluice:***@db/app  # SLUICE_POSTGRES_URI
                connections: 2  # default
                mappings: [config/a.yaml]  # config/sluice.yaml:4
                pipeline:
                  memory_budget_bytes: 64MiB  # default
                  low_watermark: 0.25  # default
                  high_watermark: 0.75  # default
                  dwell: 90s  # SLUICE_PIPELINE_DWELL
                  watchdog:
                    enabled: false  # SLUICE_PIPELINE_WATCHDOG_ENABLED
                    after: 30s  # default
                policies: [{name: "a, b", rate: 1, burst: 10}]  # config/sluice.yaml:5

                """)
    }

    @Test func shownValuesReadBackAsTheSameSettings() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("round trip seed \(seed)")
        var random = SeededRandom(seed: seed)
        let pieces = [
            "a", " ", ":", "#", "-", "\"", "'", "\\", "\n", "\t", "é", "\u{0}", "\u{1}", "\u{7f}", "\u{85}", "\u{2028}",
            "\u{feff}", "~", "null", "true", "1", "[", "}", ",", "&", "*", "%", "@", "😀", "?", "|", ">", "!",
        ]
        func text() -> String {
            (0..<Int.random(in: 0...6, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
        }
        for _ in 0..<200 {
            var value = Fixture()
            value.uri = "host=x"
            value.kafka.servers = text()
            value.kafka.properties = ["a" + text(): text(), text() + "b": text()]
            value.mappings = ["/" + text(), "/x"]
            value.pipeline.dwell = .nanoseconds(
                Int64.random(in: 0...Int64(1) << Int64.random(in: 0...55, using: &random), using: &random))
            value.pipeline.budget = Int.random(in: 1 << 21...1 << 40, using: &random)
            value.pipeline.low = Double.random(in: 0..<0.5, using: &random)
            value.policies = [PolicyFixture(name: text(), rate: 1, burst: 2)]
            let schema = SettingsSchema(Fixture.schemaSection, defaults: value)
            let shown = try schema.read(SettingsSource(environment: ["SLUICE_POSTGRES_URI": "host=x"])).yaml
            let again = try Fixture.schema.read(SettingsSource(file: try YAML.parse(text: shown, file: "x")))
            #expect(again.value == value, "seed \(seed): \(shown)")
        }
    }

    @Test func everyKeyIsInTheTable() {
        let page = Fixture.schema.markdown
        #expect(
            page.hasPrefix(
                """
                | Key | Meaning | Type | Allowed | Default | A change applies |
                | --- | --- | --- | --- | --- | --- |
                | `postgres_uri` | The database. | text |  | none, must be set | at restart |
                | `connections` | Apply lanes. | integer (connections) | between 1 and 64; even | `2` | at restart |
                """))
        #expect(
            page.hasSuffix(
                """
                ## `pipeline`

                What is in flight | held.

                | Key | Meaning | Type | Allowed | Default | A change applies |
                | --- | --- | --- | --- | --- | --- |
                | `pipeline.memory_budget_bytes` | Most bytes held. | bytes | at least 1MiB | `64MiB` | live |
                | `pipeline.low_watermark` | Resume at. | number (share) | between 0 and 1 | `0.25` | at restart |
                | `pipeline.high_watermark` | Pause at. | number (share) | between 0 and 1 | `0.75` | at restart |
                | `pipeline.dwell` | How long a partition starves before it is paused. | duration | at least 0s | `500ms` | live |

                ## `pipeline.watchdog`

                Names what stands still.

                | Key | Meaning | Type | Allowed | Default | A change applies |
                | --- | --- | --- | --- | --- | --- |
                | `pipeline.watchdog.enabled` | Watch at all. | flag | true or false | `true` | at restart |
                | `pipeline.watchdog.after` | How long is too long. | duration | between 1s and 1h | `30s` | at restart |


                """))
        for key in Fixture.schema.keys { #expect(page.contains("| `\(key.path)` |")) }
        #expect(Fixture.schema.keys.map(\.path).contains("policies[].rate"))
    }

    @Test(arguments: [
        ("postgres://u:p@h:5432/db", "postgres://u:***@h:5432/db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
        ("postgres://u@h/db?application_name=x", "postgres://u@h/db?application_name=x"),
        ("postgres://u:p@ss@h/db", "postgres://u:***@h/db"),
        ("postgres://u:p/s?s#&@h/db", "postgres://u:***@h/db"),
        ("postgres://u/db?user=x&password=p@y:z&sslmode=require", "postgres://u/db?user=x&password=***&sslmode=require"),
        ("postgres://h/db?pass%77ord=p&SSLPASSWORD=q", "postgres://h/db?pass%77ord=***&SSLPASSWORD=***"),
        ("postgres://u:p?x@h/db?a=b:c&password=q@r", "postgres://u:***"),
        ("postgres://u:a&token=b@h/db", "postgres://u:***"),
        ("postgres://u:@h/db", "postgres://u:@h/db"),
        ("host=h password=p user=u", "host=h password=*** user=u"),
        ("host = h  password = 'p \\' q' user='u v'", "host=h password=*** user='u v'"),
        ("password=a\\ b sslpassword='' dbname=postgres://x", "password=*** sslpassword=*** dbname=postgres://x"),
        ("password='open", "***"), ("just words", "***"), ("", ""),
    ])
    func passwordsAreCovered(text: String, shown: String) {
        #expect(Redaction.connectionString(text) == shown)
    }

    @Test func passwordsNeverSurvive() {
        let seed = UInt64.random(in: .min ... .max)
        print("redaction seed \(seed)")
        var random = SeededRandom(seed: seed)
        let noise = Array("@:/?&=#%' \\ab")
        for _ in 0..<2000 {
            func part() -> String {
                String((0..<Int.random(in: 0...4, using: &random)).map { _ in noise.randomElement(using: &random)! })
            }
            let secret = part() + "SECRET" + part()
            // A user name must not end the user part itself; a parameter's value must not begin another parameter.
            let uri = "postgres://u:\(secret)@h/db"
            #expect(!Redaction.connectionString(uri).contains("SECRET"), "seed \(seed): \(uri)")
            let parameter = "postgres://u@h/db?a=b&password=\(secret.filter { $0 != "&" && $0 != "?" })"
            #expect(!Redaction.connectionString(parameter).contains("SECRET"), "seed \(seed): \(parameter)")
            let quoted = secret.split(separator: "", omittingEmptySubsequences: true).map {
                $0 == "'" || $0 == "\\" ? "\\\($0)" : $0
            }.joined()
            let keywords = "host=h password='\(quoted)' user=u"
            #expect(Redaction.connectionString(keywords) == "host=h password=*** user=u", "seed \(seed): \(keywords)")
        }
    }

    @Test func namesThatSoundSecretAre() {
        for name in ["sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "ssl.keystore.password", "x.api.key"] {
            #expect(Redaction.isSecretName(name), "\(name)")
        }
        for name in ["ssl.key.location", "fetch.min.bytes", "partitioner", "sasl.username"] {
            #expect(!Redaction.isSecretName(name), "\(name)")
        }
    }

    @Test(arguments: [
        ("prot", "port"), ("hots", "host"), ("por", "port"), ("porte", "port"), ("gost", "host"), ("zebra", nil), ("", nil),
    ])
    func theNearestNameIsGuessed(typed: String, meant: String?) {
        #expect(Nearest.name(to: typed, among: ["host", "port", "connections"]) == meant)
    }

    @Test func declarationsThatCannotWorkTrap() async {
        await #expect(processExitsWith: .failure) { _ = Key<KafkaFixture>("secret_file", \.password, .string, help: "x") }
        await #expect(processExitsWith: .failure) {
            _ = Section<KafkaFixture>(
                "x", help: "",
                keys: [Key("a", \.password, .string, help: "x"), Key("a", \.servers, .string, help: "x")])
        }
        await #expect(processExitsWith: .failure) {
            let a = Key<KafkaFixture>("a_b", \.password, .string, help: "x")
            let b = Key<KafkaFixture>("a-b", \.servers, .string, help: "x")
            _ = SettingsSchema(Section("", help: "", keys: [a, b]), defaults: KafkaFixture())
        }
    }
}
