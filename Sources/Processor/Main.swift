// The program: reads the command line and hands over to a command.

import Foundation
import Settings
import Telemetry

/// The version, as `sluice --version` prints it.
let sluiceVersion = "0.1.0"

@main
struct Main {
    static func main() async {
        do {
            try await run(Command.parse(Array(CommandLine.arguments.dropFirst())))
        } catch let error as CommandError {
            fail(error.description, error.exitCode)
        } catch let error as SettingsFaults {
            fail(error.description, 1)
        } catch {
            fail("\(error)", 1)
        }
        // What a server kept us waiting for is left behind on purpose: everything that matters is durable.
        fflush(nil)
        _exit(0)
    }

    private static func run(_ command: Command) async throws {
        switch command {
        case .run(let config, let isEmbedded, let role, let brokerFile):
            let configuration = try load(config)
            let log = configuration.settings.log
            let logger = Logger(label: "sluice", level: log.level, format: log.format)
            try await RunCommand(
                configuration: configuration, role: role, isEmbedded: isEmbedded, brokerFile: brokerFile, logger: logger
            ).run()
        case .checkConfig(let config, let connects):
            try await CheckConfigCommand.run(try load(config), connects: connects)
        case .migrate(let config):
            let configuration = try load(config)
            let logger = Logger(label: "sluice", level: .warning)
            let applied = try await Schema.migrate(configuration.settings.postgres, logger: logger)
            print(applied.isEmpty ? "Nothing to do: the schema is up to date." : "Applied: \(applied.joined(separator: ", "))")
        case .embeddedBroker(let topics):
            try BrokerProcess.serve(topics: topics)
        case .configurationReference:
            print(SluiceSettings.reference, terminator: "")
        case .version:
            print("sluice \(sluiceVersion)")
        case .help:
            print(Command.usage)
        }
    }

    /// Without `--config`, the file that lies where the README says, if there is one.
    private static func load(_ config: String?) throws(SettingsFaults) -> Configuration {
        let usual = "config/sluice.yaml"
        let path = config ?? (FileManager.default.fileExists(atPath: usual) ? usual : nil)
        return try Configuration.load(path: path, environment: ProcessInfo.processInfo.environment)
    }

    private static func fail(_ message: String, _ code: Int32) -> Never {
        FileHandle.standardError.write(Data("sluice: \(message)\n".utf8))
        _exit(code)
    }
}
