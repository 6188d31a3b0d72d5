// Judges whether the end of a request can be read in one way only.

internal import CMicrohttpd
internal import Glibc

/// What a request's fields say about where it ends (RFC 9112, section 6). What is said twice, or in two ways, is read differently by
/// different servers, which is how a request is smuggled past one of them.
struct Framing {
    private(set) var isSound = true
    private let knowsChunks: Bool
    private var hasLength = false
    private var hasCoding = false
    private var hasHost = false

    /// - Parameter version: `HTTP/1.1`. The one before knows no chunks: who passes them on for it reads another end than we do.
    init(version: UnsafePointer<CChar>) { knowsChunks = strcmp(version, "HTTP/1.0") != 0 }

    mutating func field(_ name: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>?) {
        // By the first letter first: this runs for every field of every request.
        switch UInt8(bitPattern: name[0]) | 0x20 {
        case UInt8(ascii: "c"):
            if Self.begins(name, "Content-Length") { hasLength = once(name, "Content-Length", hasLength) }
        case UInt8(ascii: "t"):
            if Self.begins(name, "Transfer-Encoding") {
                hasCoding = once(name, "Transfer-Encoding", hasCoding)
                if value.map({ strcasecmp($0, "chunked") != 0 }) ?? true { isSound = false }
            }
        case UInt8(ascii: "h"):
            if Self.begins(name, "Host") { hasHost = once(name, "Host", hasHost) }
        default:
            break
        }
        if hasCoding && (hasLength || !knowsChunks) { isSound = false }
    }

    /// - Parameter has: the field has been there before.
    /// - Returns: whether it has been there now.
    private mutating func once(_ name: UnsafePointer<CChar>, _ known: StaticString, _ has: Bool) -> Bool {
        switch name[known.utf8CodeUnitCount] {
        case 0:
            if has { isSound = false }
            return true
        // `Content-Length : 5` is another field to one server and this one to the next.
        case CChar(bitPattern: UInt8(ascii: " ")), CChar(bitPattern: UInt8(ascii: "\t")): isSound = false
        default: break
        }
        return has
    }

    private static func begins(_ name: UnsafePointer<CChar>, _ known: StaticString) -> Bool {
        strncasecmp(name, known.cString, known.utf8CodeUnitCount) == 0
    }
}

extension HTTPRequestHead {
    /// The end of the request can be read in one way only.
    func isFramedSoundly(version: UnsafePointer<CChar>) -> Bool {
        var framing = Framing(version: version)
        withUnsafeMutablePointer(to: &framing) { framing in
            _ = MHD_get_connection_values(
                connection, .HEADER_KIND,
                { framing, _, name, value in
                    if let name { framing!.assumingMemoryBound(to: Framing.self).pointee.field(name, value) }
                    return .YES
                }, framing)
        }
        return framing.isSound
    }
}
