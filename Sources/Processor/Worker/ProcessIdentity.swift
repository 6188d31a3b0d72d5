// Names this process, so that an operator can tell whose claim a row in sluice_offsets shows.

import Glibc

enum ProcessIdentity {
    /// `host-pid`.
    static var name: String {
        var buffer = [CChar](repeating: 0, count: 256)
        let host = gethostname(&buffer, buffer.count - 1) == 0 ? String(cString: buffer) : "unknown"
        return "\(host)-\(getpid())"
    }
}
