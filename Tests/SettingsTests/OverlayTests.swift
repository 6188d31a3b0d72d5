// Checks the environment and files named by it: which source wins, and what is refused.

import Foundation
import Settings
import Testing

@Suite struct OverlayTests {
    private let yaml = "postgres_uri: host=a\nconnections: 4\nkafka: {bootstrap_servers: file:1}\n"

    @Test func theStrongerSourceWins() throws {
        let settings = try #require(
            Fixture.read(
                yaml,
                environment: [
                    "SLUICE_CONNECTIONS": "6", "SLUICE_KAFKA_BOOTSTRAP_SERVERS": "env:1", "PATH": "/bin", "SLUICEX": "1",
                ]
            ).settings)
        #expect(settings.value.connections == 6)
        #expect(settings.value.kafka.servers == "env:1")
        #expect(settings.value.uri == "host=a")
        let origins = Dictionary(uniqueKeysWithValues: settings.entries.map { ($0.key, $0.origin) })
        #expect(origins["connections"] == .environment("SLUICE_CONNECTIONS"))
        #expect(origins["kafka.bootstrap_servers"] == .environment("SLUICE_KAFKA_BOOTSTRAP_SERVERS"))
        #expect(origins["postgres_uri"] == .file("config/sluice.yaml", line: 1))
        #expect(origins["kafka.password"] == .defaults)
    }

    @Test func listsMapsAndSectionsFitIntoVariables() throws {
        let settings = try #require(
            Fixture.read(
                yaml,
                environment: [
                    "SLUICE_MAPPINGS": "a.yaml, b\\,c.yaml", "SLUICE_KAFKA_PROPERTIES": "debug=broker\\,topic,a\\b=c=d, e=",
                    "SLUICE_POLICIES": "[{name: env, rate: 3}]", "SLUICE_PIPELINE_WATCHDOG_AFTER": "2m",
                    "SLUICE_PIPELINE_WATCHDOG_ENABLED": "False",
                ]
            ).settings)
        // A path from the environment begins at the working directory.
        #expect(settings.value.mappings == ["a.yaml", "b,c.yaml"])
        #expect(settings.value.kafka.properties == ["debug": "broker,topic", "a\\b": "c=d", "e": ""])
        #expect(settings.value.policies == [PolicyFixture(name: "env", rate: 3)])
        #expect(settings.value.pipeline.watch == .init(isOn: false, after: .seconds(120)))
    }

    @Test func aMergedMapKeepsWhatAHigherSourceDoesNotName() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-merged-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let secret = directory.appendingPathComponent("secret").path
        try Data("h,u=n ter2\n".utf8).write(to: URL(fileURLWithPath: secret))
        let file = "postgres_uri: x\nkafka: {properties: {security.protocol: SASL_SSL, sasl.username: app, debug: broker}}\n"
        let settings = try #require(
            Fixture.read(
                file,
                environment: [
                    "SLUICE_KAFKA_PROPERTIES": "debug=topic,ssl.ca.location=/ca",
                    "SLUICE_KAFKA_PROPERTIES_SSL_CA_LOCATION": "/own",
                    "SLUICE_KAFKA_PROPERTIES_SASL_PASSWORD_FILE": secret,
                ]
            ).settings)
        #expect(
            settings.value.kafka.properties == [
                "security.protocol": "SASL_SSL", "sasl.username": "app", "debug": "topic", "ssl.ca.location": "/own",
                "sasl.password": "h,u=n ter2",
            ])
        let shown = try #require(settings.entries.first { $0.key == "kafka.properties" })
        #expect(shown.text.contains("sasl.password: \"***\"") || shown.text.contains("sasl.password: ***"))
        #expect(!shown.text.contains("ter2"))
    }

    @Test func anEntryIsSetByOneVariable() {
        let faults = Fixture.read(
            yaml, environment: ["SLUICE_KAFKA_PROPERTIES_DEBUG": "x", "SLUICE_KAFKA_PROPERTIES_DEBUG_FILE": "/x"]
        ).faults
        #expect(
            faults == [
                "SLUICE_KAFKA_PROPERTIES_DEBUG: kafka.properties.debug: is set, and so is SLUICE_KAFKA_PROPERTIES_DEBUG_FILE; "
                    + "unset one of them"
            ])
    }

    @Test func aFileOfPropertiesHasOneALine() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-client-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("client.properties").path
        try Data("# clients\nsecurity.protocol = SASL_SSL\r\n\nsasl.password=a,b=c\n! end\n".utf8).write(
            to: URL(fileURLWithPath: path))
        let settings = try #require(Fixture.read(yaml, environment: ["SLUICE_KAFKA_PROPERTIES_FILE": path]).settings)
        #expect(settings.value.kafka.properties == ["security.protocol": "SASL_SSL", "sasl.password": "a,b=c"])
        // A block of YAML ends with a line break.
        let block = try #require(
            Fixture.read(yaml, environment: ["SLUICE_KAFKA_PROPERTIES": "debug=all,sasl.username=u\n"]).settings)
        #expect(block.value.kafka.properties == ["debug": "all", "sasl.username": "u"])
    }

    @Test func emptyVariablesAreEmptyTexts() throws {
        #expect(try #require(Fixture.read(yaml, environment: ["SLUICE_KAFKA_PASSWORD": ""]).settings).value.kafka.password == "")
        #expect(
            Fixture.read(yaml, environment: ["SLUICE_CONNECTIONS": "", "SLUICE_MAPPINGS": ""]).faults == [
                "SLUICE_CONNECTIONS: connections: must be a whole number between 1 and 64, is \"\"",
                "SLUICE_MAPPINGS: mappings: must hold at least 1, holds 0",
            ])
    }

    @Test func wrongVariablesAreFaultsUnderTheirName() {
        #expect(
            Fixture.read(
                yaml,
                environment: [
                    "SLUICE_CONECTIONS": "2", "SLUICE_NONSENSE": "1", "SLUICE_TEST_X": "1", "SLUICE_PIPELINE_DWELL": "soon",
                    "SLUICE_KAFKA_PROPERTIES": "novalue", "SLUICE_POLICIES": "[{name: x, rte: 1}, {]",
                ], ignoring: ["SLUICE_TEST_"]
            ).faults == [
                "SLUICE_KAFKA_PROPERTIES: kafka.properties: must be key=value pairs, one a line or separated by commas "
                    + "(\\, for a comma inside a value)",
                "SLUICE_PIPELINE_DWELL: pipeline.dwell: must be a duration such as 500ms, 20s, 5m or a number of seconds, is soon",
                "SLUICE_POLICIES: policies: did not find expected node content (while parsing a flow node)",
                "SLUICE_CONECTIONS: sets no known key; did you mean SLUICE_CONNECTIONS?",
                "SLUICE_NONSENSE: sets no known key",
            ])
        #expect(
            Fixture.read(yaml, environment: ["SLUICE_POLICIES": "[{name: x, rte: 1}]"]).faults == [
                "SLUICE_POLICIES:1: policies[0].rte: is not a known key; did you mean policies[0].rate?"
            ])
    }

    /// What Kubernetes writes for the Services `sluice`, `sluice-kafka` and `sluice-kafka-properties`.
    @Test func variablesOfServicesAreNoSettings() throws {
        let links = [
            "SLUICE_SERVICE_HOST": "10.0.0.7", "SLUICE_SERVICE_PORT": "8000", "SLUICE_SERVICE_PORT_HTTP": "8000",
            "SLUICE_PORT": "tcp://10.0.0.7:8000", "SLUICE_PORT_8000_TCP": "tcp://10.0.0.7:8000",
            "SLUICE_PORT_8000_TCP_PROTO": "tcp", "SLUICE_PORT_8000_TCP_PORT": "8000", "SLUICE_PORT_8000_TCP_ADDR": "10.0.0.7",
            "SLUICE_KAFKA_SERVICE_HOST": "10.0.0.8", "SLUICE_KAFKA_PORT": "udp://10.0.0.8:9092",
            "SLUICE_KAFKA_PORT_9092_UDP_ADDR": "10.0.0.8", "SLUICE_KAFKA_PROPERTIES_SERVICE_HOST": "10.0.0.9",
            "SLUICE_KAFKA_PROPERTIES_PORT": "sctp://10.0.0.9:1", "SLUICE_KAFKA_PROPERTIES_PORT_1_SCTP": "sctp://10.0.0.9:1",
        ]
        let read = Fixture.read(yaml, environment: links.merging(["SLUICE_CONNECTIONS": "6", "PATH": "/bin"]) { $1 })
        #expect(read.faults == [])
        let settings = try #require(read.settings)
        #expect(settings.value.connections == 6 && settings.value.kafka.properties.isEmpty)
        let found = ServiceLinks(links.merging(["SLUICE_CONNECTIONS": "6", "OTHER_SERVICE_HOST": "10.0.0.1"]) { $1 }).services
        #expect(Set(found.keys) == Set(links.keys))
        #expect(Set(found.values) == ["sluice", "sluice-kafka", "sluice-kafka-properties"])
        #expect(found["SLUICE_SERVICE_PORT_HTTP"] == "sluice" && found["SLUICE_KAFKA_PORT_9092_UDP_ADDR"] == "sluice-kafka")
        // A setting whose name is misspelt is no such variable.
        for name in [
            "SLUICE_KAFKA_PORT", "SLUICE_CONNECTIONS_PORTS", "SLUICE_PORT_X_TCP", "SLUICE_SERVICE", "SLUICE_SERVICEHOST",
        ] {
            #expect(Fixture.read(yaml, environment: [name: "8000"]).faults.count == 1, "\(name)")
        }
    }

    @Test func secretsEndInNoLineBreak() throws {
        let settings = try #require(
            Fixture.read(
                yaml + "pipeline: {}\n",
                environment: ["SLUICE_KAFKA_PASSWORD": "hunter2\r\n", "SLUICE_KAFKA_PROPERTIES_SASL_PASSWORD": "p\n\n"]
            ).settings)
        #expect(settings.value.kafka.password == "hunter2")
        #expect(settings.value.kafka.properties == ["sasl.password": "p"])
        let block =
            "postgres_uri: |\n  postgres://h/db\n\nkafka:\n  password: |\n    hunter2\n  properties:\n    sasl.password: |\n      p\n"
            + "    debug: |\n      all\n"
        let written = try #require(Fixture.read(block).settings).value
        #expect(written.uri == "postgres://h/db" && written.kafka.password == "hunter2")
        #expect(written.kafka.properties == ["sasl.password": "p", "debug": "all\n"])
    }

    @Test func renamedKeysAreRefusedWithTheNewName() {
        #expect(
            Fixture.read(
                yaml + "pipeline: {rest: 1s}\nservers: a:1\n",
                environment: ["SLUICE_PIPELINE_REST": "1s", "SLUICE_SERVERS_FILE": "/servers"]
            ).faults == [
                "config/sluice.yaml:5: servers: was renamed to kafka.bootstrap_servers; write that",
                "config/sluice.yaml:4: pipeline.rest: was renamed to pipeline.dwell; write that",
                "SLUICE_PIPELINE_REST: pipeline.rest: was renamed to pipeline.dwell; set SLUICE_PIPELINE_DWELL",
                "SLUICE_SERVERS_FILE: servers: was renamed to kafka.bootstrap_servers; set SLUICE_KAFKA_BOOTSTRAP_SERVERS_FILE",
            ])
    }

    @Test func keysThatHaveMovedNameTheirNewPlace() {
        #expect(
            Fixture.read(yaml + "pipeline: {squeeze: on}\n", environment: ["SLUICE_PIPELINE_SQUEEZE_FILE": "/on"]).faults == [
                "config/sluice.yaml:4: pipeline.squeeze: has moved; set squeeze: in the other file (on, off)",
                "SLUICE_PIPELINE_SQUEEZE_FILE: pipeline.squeeze: has moved; unset the variable and set squeeze: in the other file "
                    + "(on, off)",
            ])
    }

    @Test func whatIsMissingWithoutAFileNamesTheVariable() {
        #expect(
            Fixture.read().faults == ["postgres_uri: is not set and has no default; set it here or as SLUICE_POSTGRES_URI"])
    }

    @Test func valuesComeFromFilesTheEnvironmentNames() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-secret-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("uri").path
        for (content, expected) in [("host=b\n", "host=b"), ("host=b\r\n", "host=b"), ("host=b\n\r\n\n", "host=b")] {
            try Data(content.utf8).write(to: URL(fileURLWithPath: path))
            let settings = try #require(Fixture.read(yaml, environment: ["SLUICE_POSTGRES_URI_FILE": path]).settings)
            #expect(settings.value.uri == expected)
            #expect(settings.entries.first { $0.key == "postgres_uri" }?.origin == .environment("SLUICE_POSTGRES_URI_FILE"))
        }
        for nothing in ["", "\n", " \t\r\n\n"] {
            try Data(nothing.utf8).write(to: URL(fileURLWithPath: path))
            #expect(
                Fixture.read(yaml, environment: ["SLUICE_POSTGRES_URI_FILE": path]).faults == [
                    "SLUICE_POSTGRES_URI_FILE: postgres_uri: the file \"\(path)\" holds nothing; write the value into it, or unset "
                        + "the variable"
                ])
        }
        // A secret that was meant for another key is not shown.
        try Data("hunter2\n".utf8).write(to: URL(fileURLWithPath: path))
        for (variable, key) in [
            ("SLUICE_CONNECTIONS_FILE", "connections"), ("SLUICE_KAFKA_AUTO_OFFSET_RESET_FILE", "auto_offset_reset"),
        ] {
            let faults = Fixture.read(yaml, environment: [variable: path]).faults
            #expect(faults.count == 1 && faults[0].contains(key) && faults[0].hasSuffix("is ***"), "\(faults)")
        }
        try Data([0xFF]).write(to: URL(fileURLWithPath: path))
        #expect(
            Fixture.read(yaml, environment: ["SLUICE_POSTGRES_URI_FILE": path]).faults == [
                "SLUICE_POSTGRES_URI_FILE: postgres_uri: the file \"\(path)\" is not UTF-8; save it as UTF-8"
            ])
        #expect(
            Fixture.read(environment: ["SLUICE_POSTGRES_URI_FILE": path + "x"]).faults == [
                "SLUICE_POSTGRES_URI_FILE: postgres_uri: the file \"\(path)x\" cannot be opened: No such file or directory"
            ])
        #expect(
            Fixture.read(yaml, environment: ["SLUICE_POSTGRES_URI_FILE": path, "SLUICE_POSTGRES_URI": "host=c"]).faults == [
                "SLUICE_POSTGRES_URI: postgres_uri: is set, and so is SLUICE_POSTGRES_URI_FILE; unset one of them"
            ])
    }
}
