// Makes room for connections among the descriptors a process may have.

internal import Glibc

/// The process's limit of descriptors.
enum DescriptorLimit {
    /// Descriptors that are left to the rest of the process.
    static let others = 256

    /// Raises the soft limit towards the hard one where `connections` need it. Nothing here uses `select`, so a high limit harms nobody.
    /// - Returns: how many connections there is room for; at least 1.
    static func room(for connections: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return connections }
        let wanted = rlim_t(connections + others)
        if limit.rlim_cur < wanted, limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = min(wanted, limit.rlim_max)
            // Refused, the limit stays what it is.
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        let room = Int(clamping: limit.rlim_cur) - others
        return max(1, min(connections, room))
    }
}
