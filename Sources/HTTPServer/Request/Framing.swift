// Decides whether the framing of a request is unambiguous.

internal import CMicrohttpd
internal import Glibc

/// The header fields that delimit a request (RFC 9112, section 6). Servers read a repeated or contradictory length differently, which
/// allows request smuggling.
struct Framing {
    private(set) var isUnambiguous = true
    private let knowsChunks: Bool
    private var hasLength = false
    private var hasCoding = false
    private var hasHost = false

    /// - Parameter version: `HTTP/1.1`. HTTP/1.0 has no chunks: a proxy that speaks it finds another end of the request.
    init(version: UnsafePointer<CChar>) { knowsChunks = strcmp(version, "HTTP/1.0") != 0 }

    mutating func field(_ name: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>?) {
        // Branches by the first letter: this runs for every field of every request.
        switch UInt8(bitPattern: name[0]) | 0x20 {
        case UInt8(ascii: "c"):
            if Self.begins(name, "Content-Length") { hasLength = once(name, "Content-Length", hasLength) }
        case UInt8(ascii: "t"):
            if Self.begins(name, "Transfer-Encoding") {
                hasCoding = once(name, "Transfer-Encoding", hasCoding)
                if value.map({ strcasecmp($0, "chunked") != 0 }) ?? true { isUnambiguous = false }
            }
        case UInt8(ascii: "h"):
            if Self.begins(name, "Host") { hasHost = once(name, "Host", hasHost) }
        default:
            break
        }
        if hasCoding && (hasLength || !knowsChunks) { isUnambiguous = false }
    }

    /// - Parameter has: the field was seen before.
    /// - Returns: whether it has been seen now.
    private mutating func once(_ name: UnsafePointer<CChar>, _ known: StaticString, _ has: Bool) -> Bool {
        switch name[known.utf8CodeUnitCount] {
        case 0:
            if has { isUnambiguous = false }
            return true
        // `Content-Length : 5` is this field to some servers and an unknown one to others.
        case CChar(bitPattern: UInt8(ascii: " ")), CChar(bitPattern: UInt8(ascii: "\t")): isUnambiguous = false
        default: break
        }
        return has
    }

    private static func begins(_ name: UnsafePointer<CChar>, _ known: StaticString) -> Bool {
        strncasecmp(name, known.cString, known.utf8CodeUnitCount) == 0
    }
}

extension HTTPRequestHead {
    /// The end of the request is unambiguous.
    func hasUnambiguousFraming(version: UnsafePointer<CChar>) -> Bool {
        var framing = Framing(version: version)
        withUnsafeMutablePointer(to: &framing) { framing in
            _ = MHD_get_connection_values(
                connection, .HEADER_KIND,
                { framing, _, name, value in
                    if let name { framing!.assumingMemoryBound(to: Framing.self).pointee.field(name, value) }
                    return .YES
                }, framing)
        }
        return framing.isUnambiguous
    }
}
