// Figures of the kernel about this process: memory, processor time, file descriptors, start.

import Glibc
import Platform

/// Figures of the kernel about this process. A value that cannot be read (no `/proc`) is `nil`.
public enum ProcessMetrics {
    /// Resident memory in bytes (`/proc/self/statm`).
    public static func residentMemoryBytes() -> Int? { statm(field: 1) }

    /// Virtual memory in bytes (`/proc/self/statm`).
    public static func virtualMemoryBytes() -> Int? { statm(field: 0) }

    /// Processor time spent in this process, user and system, in seconds.
    public static func cpuSeconds() -> Double? {
        var time = timespec()
        guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Open file descriptors, without the one of this call.
    public static func openFileDescriptors() -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var entries = 0
        while readdir(directory) != nil { entries += 1 }
        return entries - 3  // ".", ".." and the directory itself
    }

    /// The soft limit of open file descriptors; `nil` also if there is none.
    public static func fileDescriptorLimit() -> Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(exactly: limit.rlim_cur)
    }

    /// When the process started, in seconds since 1970-01-01T00:00:00Z.
    public static func startTimeSeconds() -> Double? {
        // Field 22 of /proc/self/stat, in ticks since boot. Field 2, the command, may hold spaces, so fields are counted from its
        // closing parenthesis.
        guard let stat = try? SmallFile.read("/proc/self/stat"), let bracket = stat.lastIndex(of: UInt8(ascii: ")")) else {
            return nil
        }
        let fields = stat[(bracket + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let ticks = Double(String(decoding: fields[19], as: UTF8.self)) else { return nil }
        for line in (try? SmallFile.read("/proc/stat"))?.split(separator: UInt8(ascii: "\n")) ?? []
        where line.starts(with: "btime ".utf8) {
            guard let boot = Double(String(decoding: line.dropFirst(6), as: UTF8.self)) else { return nil }
            return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        }
        return nil
    }

    private static func statm(field: Int) -> Int? {
        guard let fields = (try? SmallFile.read("/proc/self/statm"))?.split(separator: UInt8(ascii: " ")), fields.count > field,
            let pages = Int(String(decoding: fields[field], as: UTF8.self))
        else { return nil }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}

extension MetricsRegistry {
    /// Registers the `process_*` metrics that Prometheus client libraries have.
    public func registerProcessMetrics() {
        let start = ProcessMetrics.startTimeSeconds()
        collector("process_resident_memory_bytes", type: .gauge, help: "Resident memory size in bytes.") { sink in
            if let bytes = ProcessMetrics.residentMemoryBytes() { sink.sample(bytes) }
        }
        collector("process_virtual_memory_bytes", type: .gauge, help: "Virtual memory size in bytes.") { sink in
            if let bytes = ProcessMetrics.virtualMemoryBytes() { sink.sample(bytes) }
        }
        collector(
            "process_cpu_seconds_total", type: .counter, help: "User and system processor time spent, in seconds."
        ) { sink in
            if let seconds = ProcessMetrics.cpuSeconds() { sink.sample(seconds) }
        }
        collector("process_open_fds", type: .gauge, help: "Open file descriptors.") { sink in
            if let count = ProcessMetrics.openFileDescriptors() { sink.sample(count) }
        }
        collector("process_max_fds", type: .gauge, help: "The most file descriptors that may be open.") { sink in
            if let count = ProcessMetrics.fileDescriptorLimit() { sink.sample(count) }
        }
        collector(
            "process_start_time_seconds", type: .gauge, help: "When the process started, in seconds since 1970 (UTC)."
        ) { sink in
            if let start { sink.sample(start) }
        }
    }
}
