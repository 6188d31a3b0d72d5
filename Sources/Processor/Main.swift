// The program: reads the command line, runs a command, and turns errors into messages and exit codes.

import CommandLine
import Foundation
import Settings
import SluiceTables
import Telemetry

@main
struct Main {
    static func main() async {
        var logger: Logger?
        var code: Int32 = 0
        do {
            try await run(Command.parse(Array(CommandLine.arguments.dropFirst())), &logger)
        } catch let error as UsageError {
            code = ExitCode.usage
            standardError(error.description)
        } catch {
            let failure = CommandError(error)
            code = failure.exitCode
            if let logger {
                logger.error("The command failed.", ["message": failure.description, "exit_code": code])
            } else {
                standardError("sluice: \(failure)")
            }
        }
        endProcess(code)
    }

    /// - Parameter logger: set once the configuration says how to log.
    private static func run(_ command: Command, _ logger: inout Logger?) async throws {
        switch command {
        case .run(let path, let isEmbedded, let role, let brokerFile):
            let (configuration, log) = try load(path, &logger)
            try await RunCommand(
                configuration: configuration, role: role, isEmbedded: isEmbedded, brokerFile: brokerFile, logger: log
            ).run()
        case .checkConfig(let path, let connects):
            let (configuration, log) = try load(path, &logger)
            try await CheckConfigCommand.run(configuration, connects: connects, logger: log)
        case .migrate(let path):
            let (configuration, log) = try load(path, &logger)
            let applied = try await Schema.migrate(configuration.settings.postgres, logger: log)
            print(applied.isEmpty ? "Nothing to do: the schema is up to date." : "Applied: \(applied.joined(separator: ", "))")
        case .tryMapping(let options): try await TryCommand.run(options)
        case .suggestMapping(let options): try await SuggestCommand.run(options)
        case .embeddedBroker(let topics): try BrokerProcess.serve(topics: topics)
        case .print(let text): print(text, terminator: "")
        }
    }

    private static func load(_ path: String?, _ logger: inout Logger?) throws -> (Configuration, Logger) {
        let path = path ?? Configuration.usualFile()
        do throws(SettingsFaults) {
            let configuration = try Configuration.load(path: path, environment: ProcessInfo.processInfo.environment)
            let settings = configuration.settings.log
            let log = Logger(label: "sluice", level: settings.level, format: settings.format)
            logger = log
            log.note(ServiceLinks(ProcessInfo.processInfo.environment))
            if path == nil {
                log.info(
                    "No configuration file found; defaults and environment are used.",
                    ["file": Configuration.usualPath, "directory": FileManager.default.currentDirectoryPath])
            }
            return (configuration, log)
        } catch {
            let settings = Configuration.logSettings(path: path, environment: ProcessInfo.processInfo.environment)
            // For people a fault a line, without a time.
            if settings.format == .json { logger = Logger(label: "sluice", format: .json) }
            guard path == nil else { throw error }
            throw CommandError("\(Configuration.missingFile)\n\(error)", exitCode: ExitCode.configuration)
        }
    }

    private static func standardError(_ text: String) { DescriptorLogSink.standardError.write(Array((text + "\n").utf8)) }
}

/// Ends the process. Threads that still wait for a server are not joined: everything that matters is durable. Nor is it waited for log
/// lines that nobody reads.
func endProcess(_ code: Int32) -> Never {
    DescriptorLogSink.standardError.flush()
    fflush(nil)
    _exit(code)
}

extension Logger {
    /// Says which variables are not taken for settings, if there are any.
    fileprivate func note(_ links: ServiceLinks) {
        guard !links.services.isEmpty else { return }
        let keys = Set(SluiceSettings.schema.keys.compactMap(\.environmentName))
        let isKey = links.services.keys.contains(where: keys.contains)
        log(
            isKey ? .warning : .info, "Variables that Kubernetes writes for Services are no settings, and are ignored.",
            [
                "services": Set(links.services.values).sorted().joined(separator: ", "),
                "variables": links.services.keys.sorted().joined(separator: ", "),
                "remedy": "set enableServiceLinks: false in the pod's specification, or rename the Services",
            ])
    }
}
