// Names the networks that connections are counted by.

internal import CMicrohttpd
internal import Glibc

/// Where a connection comes from, as far as limits are concerned: an IPv4 address, or the /64 of an IPv6 one, because whoever has one
/// address of a /64 has all of them.
enum ClientNetwork: Hashable {
    case v4(UInt32)
    case v6(UInt64)
    case unknown

    /// An IPv4 address in IPv6 clothes is an IPv4 address.
    init(_ address: UnsafePointer<sockaddr>?) {
        guard let address else {
            self = .unknown
            return
        }
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let bytes = raw + MemoryLayout<sockaddr_in>.offset(of: \.sin_addr)!
            self = .v4(bytes.loadUnaligned(as: UInt32.self).bigEndian)
        case AF_INET6:
            let bytes = raw + MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!
            let high = bytes.loadUnaligned(as: UInt64.self).bigEndian
            let middle = bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self).bigEndian
            let low = bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self).bigEndian
            self = high == 0 && middle == 0xFFFF ? .v4(low) : .v6(high)
        default:
            self = .unknown
        }
    }
}
