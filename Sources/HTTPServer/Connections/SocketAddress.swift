// Owns IP addresses as numbers: read from a socket or from text, and written as text.

internal import CMicrohttpd
internal import Glibc

/// An IP address without a port. An IPv4-mapped IPv6 address (`::ffff:192.0.2.7`; RFC 4291, section 2.5.5.2) is the IPv4 address.
public enum SocketAddress: Sendable, Hashable {
    case ipv4(UInt32)
    /// The two halves, in host byte order; the upper one is the /64 network.
    case ipv6(high: UInt64, low: UInt64)

    /// Parses `192.0.2.7` or `2001:db8::7`. `nil`: the text is no address.
    public init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self = .ipv4(UInt32(bigEndian: four.s_addr))
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            self = withUnsafeBytes(of: &six) { SocketAddress(ipv6: $0.baseAddress!) }
        } else {
            return nil
        }
    }

    /// `nil` for other address families.
    init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let offset = MemoryLayout<sockaddr_in>.offset(of: \.sin_addr)!
            self = .ipv4(UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        case AF_INET6:
            self.init(ipv6: raw + MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!)
        default:
            return nil
        }
    }

    /// - Parameter bytes: sixteen bytes in network order.
    private init(ipv6 bytes: UnsafeRawPointer) {
        let high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        self = high == 0 && low >> 32 == 0xFFFF ? .ipv4(UInt32(truncatingIfNeeded: low)) : .ipv6(high: high, low: low)
    }

    /// The network that per-client limits count by: an IPv4 address, or the /64 of an IPv6 address, because a site usually has at least a
    /// whole /64.
    var network: SocketAddress { if case .ipv6(let high, _) = self { .ipv6(high: high, low: 0) } else { self } }

    /// The address in its usual notation.
    var text: String {
        switch self {
        case .ipv4(let number): Self.text(AF_INET, number.bigEndian)
        case .ipv6(let high, let low): Self.text(AF_INET6, (high.bigEndian, low.bigEndian))
        }
    }

    private static func text<Bytes>(_ family: Int32, _ bytes: Bytes) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
            guard
                withUnsafeBytes(of: bytes, { inet_ntop(family, $0.baseAddress, buffer.baseAddress, socklen_t(buffer.count)) })
                    != nil
            else { return "" }
            return String(cString: buffer.baseAddress!)
        }
    }
}
