// Names this process in the claims of sluice_offsets.

import Glibc

enum ProcessIdentity {
    /// `host-pid`.
    static var name: String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let isKnown = buffer.withUnsafeMutableBytes {
            gethostname($0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count - 1) == 0
        }
        let host = isKnown ? String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self) : "unknown"
        return "\(host)-\(getpid())"
    }
}
