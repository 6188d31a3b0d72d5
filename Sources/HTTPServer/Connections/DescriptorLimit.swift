// Raises the process's limit of file descriptors to what connections need.

internal import Glibc

/// The limit of file descriptors of this process (RLIMIT_NOFILE).
enum DescriptorLimit {
    /// Descriptors that are left to the rest of the process.
    static let others = 256

    /// Raises the soft limit towards the hard limit where `connections` need it. Nothing in this process uses `select`, which fails beyond
    /// 1,024.
    /// - Returns: how many connections the limit allows; at least 1.
    static func capacity(for connections: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return connections }
        let wanted = rlim_t(connections + others)
        if limit.rlim_cur < wanted, limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = min(wanted, limit.rlim_max)
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return max(1, min(connections, Int(clamping: limit.rlim_cur) - others))
    }
}
