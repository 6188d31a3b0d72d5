// Figures of the kernel about this process: memory, processor time, file descriptors, start.

import Glibc
import Platform

/// Figures of the kernel about this process. A value that cannot be read (no `/proc`) is `nil`.
private enum ProcessMetrics {
    /// Processor time spent in this process, user and system, in seconds.
    static func cpuSeconds() -> Double? {
        var time = timespec()
        guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Open file descriptors, without the one of this call.
    static func openFileDescriptors() -> Double? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var entries = 0
        while readdir(directory) != nil { entries += 1 }
        return Double(entries - 3)  // ".", ".." and the directory itself
    }

    /// The soft limit of open file descriptors; `nil` also if there is none.
    static func fileDescriptorLimit() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(exactly: limit.rlim_cur).map(Double.init)
    }

    /// When the process started, in seconds since 1970-01-01T00:00:00Z.
    static func startTimeSeconds() -> Double? {
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

    /// Memory in bytes (`/proc/self/statm`): field 0 is virtual, field 1 resident.
    static func memoryBytes(field: Int) -> Double? {
        guard let fields = (try? SmallFile.read("/proc/self/statm"))?.split(separator: UInt8(ascii: " ")), fields.count > field,
            let pages = Int(String(decoding: fields[field], as: UTF8.self))
        else { return nil }
        return Double(pages * sysconf(Int32(_SC_PAGESIZE)))
    }
}

extension MetricsRegistry {
    /// Registers the `process_*` metrics that Prometheus client libraries have.
    public func registerProcessMetrics() {
        let start = ProcessMetrics.startTimeSeconds()
        let metrics: [(name: String, type: MetricType, help: String, read: @Sendable () -> Double?)] = [
            ("process_resident_memory_bytes", .gauge, "Resident memory size in bytes.", { ProcessMetrics.memoryBytes(field: 1) }),
            ("process_virtual_memory_bytes", .gauge, "Virtual memory size in bytes.", { ProcessMetrics.memoryBytes(field: 0) }),
            (
                "process_cpu_seconds_total", .counter, "User and system processor time spent, in seconds.",
                ProcessMetrics.cpuSeconds
            ),
            ("process_open_fds", .gauge, "Open file descriptors.", ProcessMetrics.openFileDescriptors),
            ("process_max_fds", .gauge, "The most file descriptors that may be open.", ProcessMetrics.fileDescriptorLimit),
            ("process_start_time_seconds", .gauge, "When the process started, in seconds since 1970 (UTC).", { start }),
        ]
        for (name, type, help, read) in metrics {
            collector(name, type: type, help: help) { sink in
                if let value = read() { sink.sample(value) }
            }
        }
    }
}
