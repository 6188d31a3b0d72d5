// Runs the embedded broker in a child process: the memory of its log is not counted as Sluice's, and it ends with its parent.

import Dispatch
import Foundation
import Kafka
import Platform

/// The embedded broker as a child of this process.
final class BrokerProcess: @unchecked Sendable {
    // Licence for @unchecked: Process and Pipe are set up in `start` and used again only in `stop`, by the same task.

    /// `host:port` of the broker.
    let bootstrapServers: String
    private let process: Process
    private let lifeline: Pipe

    private init(bootstrapServers: String, process: Process, lifeline: Pipe) {
        self.bootstrapServers = bootstrapServers
        self.process = process
        self.lifeline = lifeline
    }

    /// Starts the child: this program as `sluice embedded-broker TOPIC...`. It prints its address, and ends when its standard input is
    /// closed, which the kernel does when this process ends.
    static func start(topics: [String]) async throws -> BrokerProcess {
        try await blocking {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            process.arguments = ["embedded-broker"] + topics.filter { !TopicPattern.isPattern($0) }
            process.environment = Self.environment(ProcessInfo.processInfo.environment)
            let lifeline = Pipe()
            let output = Pipe()
            process.standardInput = lifeline
            process.standardOutput = output
            try process.run()
            let line = output.fileHandleForReading.availableData
            let address = String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            guard !address.isEmpty else {
                process.terminate()
                throw CommandError("The embedded broker did not start; its message is above.")
            }
            return BrokerProcess(bootstrapServers: address, process: process, lifeline: lifeline)
        }
    }

    /// What the child gets of this process's environment: how to run, and no setting, as secrets are among them.
    static func environment(_ own: [String: String]) -> [String: String] {
        let names: Set = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"]
        return own.filter { name, _ in names.contains(name) || name.hasPrefix("LD_") || name.hasPrefix("LC_") }
    }

    /// Ends the child.
    func stop() async {
        do {
            try await Self.blocking {
                try self.lifeline.fileHandleForWriting.close()
                self.process.waitUntilExit()
            }
        } catch {
            // The pipe is broken: the child has ended.
        }
    }

    /// Runs a blocking body on a thread of Dispatch.
    private static func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// The child: serves until standard input is closed.
    static func serve(topics: [String]) throws {
        // Ctrl-C signals the whole foreground group, but the parent needs the broker until it has drained.
        signal(SIGINT, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
        signal(SIGHUP, SIG_IGN)
        let broker = try EmbeddedBroker.start(topics: topics.map { ($0, EmbeddedBroker.defaultPartitions) })
        FileHandle.standardOutput.write(Data("\(broker.bootstrapServers)\n".utf8))
        while let data = try FileHandle.standardInput.read(upToCount: 1), !data.isEmpty {}
        broker.stop()
    }
}
