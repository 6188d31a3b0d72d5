// Owns what a request's head tells about its sender: the peer's address as a number, and fields that come more than once.

internal import CMicrohttpd
internal import Glibc

/// A numeric address, without port. An IPv4 address in IPv6 clothes is an IPv4 one.
public enum HTTPAddress: Sendable, Hashable {
    case ipv4(UInt32)
    /// The two halves; the upper one is the network of a /64.
    case ipv6(high: UInt64, low: UInt64)

    /// Reads an address as it is written in text: `192.0.2.7`, `2001:db8::7`. `nil`: it is none.
    public init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self = .ipv4(UInt32(bigEndian: four.s_addr))
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            self = withUnsafeBytes(of: &six) { HTTPAddress(ipv6: $0.baseAddress!) }
        } else {
            return nil
        }
    }

    /// - Parameter bytes: sixteen of them, in network order.
    fileprivate init(ipv6 bytes: UnsafeRawPointer) {
        let high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        self = high == 0 && low >> 32 == 0xFFFF ? .ipv4(UInt32(truncatingIfNeeded: low)) : .ipv6(high: high, low: low)
    }

    fileprivate init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let place = MemoryLayout<sockaddr_in>.offset(of: \.sin_addr)!
            self = .ipv4(UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
        case AF_INET6:
            self.init(ipv6: raw + MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!)
        default:
            return nil
        }
    }
}

extension HTTPRequestHead {
    /// The peer's address; `nil` where it is unknown. No string is made.
    public var peer: HTTPAddress? { sluice_mhd_client_address(connection).flatMap { HTTPAddress($0) } }

    /// The values of every line of a header field, in the order they came. Names are compared without case.
    public func headers(_ name: String) -> [String] {
        var search = Search(name: name)
        withUnsafeMutablePointer(to: &search) { pointer in
            _ = MHD_get_connection_values(
                connection, .HEADER_KIND,
                { search, _, key, value in
                    let search = search!.assumingMemoryBound(to: Search.self)
                    if let key, strcasecmp(key, search.pointee.name) == 0 {
                        search.pointee.values.append(value.map { String(cString: $0) } ?? "")
                    }
                    return .YES
                }, pointer)
        }
        return search.values
    }
}

/// What a walk over header fields looks for, and what it has found.
private struct Search {
    let name: String
    var values: [String] = []
}
