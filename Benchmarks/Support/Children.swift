// The processes that the benchmark starts; they end with it.

import Dispatch
import Foundation
import Glibc
import Synchronization

/// The running child processes.
enum Children {
    private static let running = Mutex<Set<pid_t>>([])

    /// Makes signals that end this program end its children first.
    static func endWithUs() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                endAll()
                exit(128 + number)
            }
            source.resume()
            // It lives as long as the process.
            _ = Unmanaged.passRetained(source as AnyObject)
        }
    }

    /// Asks all to end, and kills those that have not after ten seconds.
    static func endAll() {
        let pids = running.withLock { $0 }
        for pid in pids { kill(pid, SIGTERM) }
        for _ in 0..<100 where running.withLock({ !$0.isEmpty }) { usleep(100_000) }
        for pid in running.withLock({ $0 }) { kill(pid, SIGKILL) }
    }

    fileprivate static func started(_ pid: pid_t) { running.withLock { _ = $0.insert(pid) } }
    fileprivate static func ended(_ pid: pid_t) { running.withLock { _ = $0.remove(pid) } }
}

/// A child process, with its output in a file.
final class Child: @unchecked Sendable {
    // Licence for @unchecked: Process is set up before it is run; afterwards only its documented thread-safe members are used.

    /// Resources that a process has used.
    struct Usage: Sendable {
        var cpuSeconds = 0.0
        var peakKibibytes = 0
        var residentKibibytes = 0
    }

    private let process = Process()
    private let logPath: String
    let name: String

    /// Starts a program; `environment` comes on top of ours.
    init(_ name: String, _ program: String, _ arguments: [String], environment: [String: String] = [:], log: String) throws {
        self.name = name
        logPath = log
        guard FileManager.default.createFile(atPath: log, contents: nil), let file = FileHandle(forWritingAtPath: log) else {
            throw BenchError("the log \(log) cannot be written")
        }
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = file
        process.standardError = file
        process.terminationHandler = { Children.ended($0.processIdentifier) }
        do { try process.run() } catch { throw BenchError("\(program) cannot be started: \(error.localizedDescription)") }
        // In this order a process that has ended at once stays in the list, where a late signal does no harm.
        Children.started(process.processIdentifier)
        if !process.isRunning { Children.ended(process.processIdentifier) }
    }

    var pid: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }

    /// Waits until the process ends by itself. Blocks: not for cooperative threads.
    func wait() throws {
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw failure("ended with status \(process.terminationStatus)") }
    }

    /// Asks the process to end and waits for it, at most `seconds`. Blocks: not for cooperative threads.
    func end(within seconds: Int) {
        process.terminate()
        for _ in 0..<(seconds * 50) where process.isRunning { usleep(20_000) }
        if process.isRunning { kill(pid, SIGKILL) }
        process.waitUntilExit()
    }

    /// Everything it has written so far.
    var log: String { FileManager.default.contents(atPath: logPath).map { String(decoding: $0, as: UTF8.self) } ?? "" }

    /// An error with the end of the process's log.
    func failure(_ what: String) -> BenchError { BenchError("\(name) \(what); the end of its log:\n\(log.suffix(2_000))") }

    /// Processor time and peak memory as proc(5) has them; `nil` once the process is gone.
    func usage() -> Usage? {
        guard let stat = read("stat"), let status = read("status"), let close = stat.lastIndex(of: ")") else { return nil }
        // After the name in parentheses: state is field 3, utime 14, stime 15.
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
        func kibibytes(_ name: String) -> Int? {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name) }
            return line?.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap { Int($0) }
        }
        guard let peak = kibibytes("VmHWM:"), let resident = kibibytes("VmRSS:") else { return nil }
        return Usage(
            cpuSeconds: (user + system) / Double(sysconf(Int32(_SC_CLK_TCK))), peakKibibytes: peak, residentKibibytes: resident)
    }

    private func read(_ file: String) -> String? {
        FileManager.default.contents(atPath: "/proc/\(pid)/\(file)").map { String(decoding: $0, as: UTF8.self) }
    }
}
