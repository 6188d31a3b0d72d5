// Describes the machine of the figures.

import Foundation
import Glibc

/// The machine and what runs on it.
struct Machine: Codable, Sendable {
    let cores: Int
    let processor: String
    let memoryMiB: Int
    let kernel: String
    let system: String
    /// Load average when the benchmark began: other processes make every figure worse.
    let loadAverage: Double

    var summary: String {
        "\(processor), \(cores) cores, \(memoryMiB) MiB, \(system), Linux \(kernel), load average \(loadAverage)"
    }

    static func describe() -> Machine {
        let processor = field("model name", in: text("/proc/cpuinfo")) ?? "unknown processor"
        let release = field("PRETTY_NAME", in: text("/etc/os-release"), separator: "=") ?? "unknown system"
        let load = text("/proc/loadavg").split(separator: " ").first.flatMap { Double($0) } ?? 0
        return Machine(
            cores: ProcessInfo.processInfo.activeProcessorCount, processor: processor,
            memoryMiB: Int(ProcessInfo.processInfo.physicalMemory >> 20),
            kernel: text("/proc/sys/kernel/osrelease").trimmingCharacters(in: .whitespacesAndNewlines),
            system: release.trimmingCharacters(in: CharacterSet(charactersIn: "\"")), loadAverage: load)
    }

    /// A file of `/proc` or `/etc`; empty if it cannot be read.
    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private static func field(_ name: String, in text: String, separator: Character = ":") -> String? {
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            guard let at = line.firstIndex(of: separator) else { continue }
            return line[line.index(after: at)...].trimmingCharacters(in: .whitespaces)
        }
        return nil
    }
}
