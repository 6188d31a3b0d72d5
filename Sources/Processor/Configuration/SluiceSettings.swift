// Owns the whole configuration: its sections, loading it, and the faults that other modules find.

import Apply
import Backpressure
import Decode
import Foundation
import HTTPServer
import Kafka
import Platform
import Records
import Settings

/// All settings, as in `config/sluice.yaml`.
struct SluiceSettings: Sendable {
    var kafka = KafkaSettings()
    var postgres = PostgresSettings()
    var mappings = ["mapping.yaml"]
    var route = RouteSettings()
    var pipeline = PipelineSettings()
    var apply = ApplySettings()
    var deadLetters = DeadLetterSettings()
    var tombstones = TombstoneSettings()
    var limits = LimitsSettings()
    var http = HTTPSettings()
    var log = LogSettings()

    /// The files of all mappings, each once.
    var mappingFiles: [String] { mappings + route.files.filter { !mappings.contains($0) } }

    static let schema = SettingsSchema(
        Section<SluiceSettings>(
            "", help: "",
            keys: [
                .section(\.kafka, KafkaSettings.section),
                .section(\.postgres, PostgresSettings.section),
                Key(
                    "mappings", \.mappings, .list(of: .path),
                    help:
                        "Mapping files, relative to this file: how events become rows. A file describes the topics of one table. "
                        + "POST /send takes events of the first topic that a file names. Empty: those of route.tables only."
                ),
                .section(\.route, RouteSettings.section),
                .section(\.pipeline, PipelineSettings.section),
                .section(\.apply, ApplySettings.section),
                .section(\.deadLetters, DeadLetterSettings.section),
                .section(\.tombstones, TombstoneSettings.section),
                .section(\.limits, LimitsSettings.section),
                .section(\.http, HTTPSettings.section),
                .section(\.log, LogSettings.section),
            ],
            rules: [
                Rule("mappings", "route.tables", sentence: "must name at least one mapping file") { !$0.mappingFiles.isEmpty }
            ]),
        defaults: SluiceSettings(),
        renamed: [
            "kafka.kicker": "kafka.fetch_wakeup", "pipeline.mirror_interval": "pipeline.offset_commit_interval",
            "apply.foreign_key_timeout": "apply.constraint_timeout",
        ],
        moved: [
            "apply.coalesce":
                "write: in the mapping file (\(WriteChoice.Strategy.allCases.map(\.rawValue).joined(separator: ", ")))"
        ])

    /// `docs/configuration.md`: every key, from its declaration.
    static var reference: String {
        """
        # Configuration

        For operators: every key of `config/sluice.yaml`. `sluice configuration-reference` generates this page from
        the declarations that the program reads.

        An environment variable sets a key: `SLUICE_` and the key in upper case, with `_` for the dots. With the suffix
        `_FILE` the variable names a file that holds the value. The environment takes precedence over the file, and the
        file over the defaults.

        The file, the mappings and the files that the environment names are checked for changes every second, and read
        at SIGHUP. A configuration with a fault changes nothing; all its faults are logged. Keys marked live take effect
        at once; the log names the changed keys that need a restart.


        """ + schema.markdown
    }
}

/// A valid configuration.
struct Configuration: Sendable {
    /// The settings with the source of each.
    let effective: EffectiveSettings<SluiceSettings>
    /// The compiled mappings.
    let mappings: [Mapping]
    /// Outcomes by SQLSTATE.
    let outcomes: OutcomeTable
    /// The certificate of the HTTP server; `nil`: it speaks plain HTTP.
    let identity: TLSIdentity?
    /// The file that holds `postgres.uri` and can be read again; `nil`: there is none.
    let uriFile: String?
    /// The files it was read from, for reading it again.
    let files: ConfigurationFiles
    /// The content of these files just before they were read; `nil`: they can be read only once.
    let content: ConfigurationFiles.Content?

    /// The file that is read where none is named, relative to the working directory.
    static let usualPath = "config/sluice.yaml"

    /// What is said where no file is read.
    static var missingFile: String {
        "no configuration file: \(usualPath) does not exist in \(FileManager.default.currentDirectoryPath) and --config FILE is not "
            + "given; defaults and environment are used"
    }

    /// ``usualPath`` where it exists.
    static func usualFile() -> String? { FileManager.default.fileExists(atPath: usualPath) ? usualPath : nil }

    var settings: SluiceSettings {
        var settings = effective.value
        settings.postgres.uriFile = uriFile
        return settings
    }
    /// Which topic is whose.
    let routes: TopicRoutes
    /// Which mapping decodes a record of a topic that several have; `nil`: no topic is routed.
    let route: Route?
    /// The topics of all mappings, each once; expressions (``TopicPattern``) among them.
    var topics: [String] {
        var seen: Set<String> = []
        return mappings.flatMap(\.topics).filter { seen.insert($0).inserted }
    }
    /// Those that a process reads or writes.
    func topics(of role: Role) throws(CommandError) -> [String] {
        role == .ingress ? [try ingressTopic(of: role)].compactMap(\.self) : topics
    }
    /// The topic of the events that an ingress takes; `nil`: a worker takes none.
    /// - Throws: where no mapping names a topic.
    func ingressTopic(of role: Role) throws(CommandError) -> String? {
        if role == .worker { return nil }
        if let topic = mappings.flatMap(\.topics).first(where: { !TopicPattern.isPattern($0) }) { return topic }
        throw CommandError(
            "POST /send needs a topic that a mapping names, not by an expression: name one, or run with --role worker")
    }
    /// What checks the events of a topic that a mapping has.
    func validator(of topic: String) -> any EventValidator {
        guard let mapping = routes.mapping(of: topic) else { preconditionFailure("no mapping has the topic \(topic)") }
        guard mapping == routes.route, let route else { return Decoder(mapping: mappings[mapping]) }
        let decoders = mappings.map { Decoder(mapping: $0) }
        return RoutedEventValidator(
            RouteDecoder(route, decoders: decoders, routed: routes.routed), topic: topic, readers: routes.readers(of: topic))
    }

    /// The settings, with faulty keys at their defaults, and all faults.
    static func survey(
        _ file: YAMLNode?, _ environment: [String: String]
    ) -> (settings: EffectiveSettings<SluiceSettings>, faults: [Fault]) {
        SluiceSettings.schema.survey(
            SettingsSource(
                file: file, environment: environment,
                ignoredPrefixes: ["SLUICE_TEST_", "SLUICE_DEMO_", "SLUICE_BENCH_"]))
    }

    /// How to log, as far as a configuration with faults says it.
    static func logSettings(path: String?, environment: [String: String]) -> LogSettings {
        var file: YAMLNode?
        // A file that cannot be read says nothing of it; loading reports that.
        if let path, case .success(let node) = Result(catching: { try YAML.load(path: path) }) { file = node }
        return survey(file, environment).settings.value.log
    }

    /// Reads everything, with all checks that need no server.
    /// - Throws: `SettingsFaults` with all faults at once.
    static func load(path: String?, environment: [String: String]) throws(SettingsFaults) -> Configuration {
        let files = ConfigurationFiles(path: path, environment: environment)
        let content = files.read()
        let file: YAMLNode?
        if let path { file = try YAML.load(path: path) } else { file = nil }
        let (effective, found) = survey(file, environment)
        let settings = effective.value
        var faults = found
        for (name, error) in KafkaProperties.faults(in: settings.kafka.properties) {
            faults.append(
                Fault(effective.origin(of: "kafka.properties"), key: "kafka.properties.\(name)", error.message))
        }
        if let fault = KafkaProperties.groupProtocolFault(settings.kafka.groupProtocol, in: settings.kafka.properties) {
            faults.append(Fault(effective.origin(of: "kafka.group_protocol"), key: "kafka.group_protocol", fault))
        }
        if let fault = KafkaProperties.tokenFault(
            in: settings.kafka.properties, hasCommand: !settings.kafka.tokenCommand.isEmpty)
        {
            faults.append(Fault(effective.origin(of: "kafka.token_command"), key: "kafka.token_command", fault))
        }
        var outcomes: OutcomeTable?
        do throws(ApplyError) {
            outcomes = try OutcomeTable(overrides: settings.apply.outcomes)
        } catch {
            faults.append(Fault(effective.origin(of: "apply.outcomes"), key: "apply.outcomes", error.description))
        }
        var mappings: [Mapping] = []
        let mappingFiles = settings.mappingFiles
        if let nodes = settings.readMappings(origin: effective.origin(of:), &faults) {
            do throws(MappingFaults) {
                mappings = try Mapping.compile(nodes, routed: Set(settings.route.files))
            } catch {
                faults += error.faults.map { Fault(.file($0.file, line: $0.line), $0.message) }
            }
        }
        faults += settings.limits.policyFaults(effective.origin(of: "limits.policies"))
        let routed = settings.route.files.compactMap { mappingFiles.firstIndex(of: $0) }
        let routes = TopicRoutes(mappings.map(\.topics), routed: mappings.isEmpty ? [] : routed)
        let route = settings.route.compile(mappingFiles, mappings, routes, origin: effective.origin(of:), &faults)
        if !mappings.isEmpty {
            let topics = mappings.flatMap(\.topics)
            for name in settings.limits.consume.topics.keys.sorted() where routes.mapping(of: name) == nil {
                let guess = Nearest.name(to: name, among: topics) ?? topics.joined(separator: ", ")
                faults.append(
                    Fault(
                        effective.origin(of: "limits.consume.topics"), key: "limits.consume.topics",
                        "no mapping reads a topic \(name); did you mean \(guess)?"))
            }
        }
        var identity: TLSIdentity?
        if let (certificate, key) = settings.http.certificateFiles {
            do throws(HTTPServerError) {
                identity = try TLSIdentity(certificate: certificate, key: key)
            } catch {
                faults.append(Fault(effective.origin(of: "http.tls_certificate"), key: "http.tls_certificate", error.description))
            }
        }
        guard faults.isEmpty, let outcomes else { throw SettingsFaults(faults) }
        return Configuration(
            effective: effective, mappings: mappings, outcomes: outcomes, identity: identity, uriFile: files.uriFile,
            files: files, content: content, routes: routes, route: route)
    }
}

extension EffectiveSettings {
    /// The source of a key.
    func origin(of key: String) -> Origin { entries.first { $0.key == key }?.origin ?? .defaults }
}
