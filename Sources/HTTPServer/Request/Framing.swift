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

/// The lines of a header, by where libmicrohttpd has left their parts in memory.
///
/// Its version 0.9.75 ends a line at a bare LF, joins folded lines wrongly, and cuts a value at a NUL, without a word of it: to a proxy such a
/// request may be another one. In what is well formed, each line begins two bytes after the last one, whose CR LF are zeros now.
private struct HeaderLines {
    /// Other versions may leave the header otherwise, and refuse such lines by themselves (`MHD_OPTION_STRICT_FOR_CLIENT`).
    static let areKnown = HTTPLibrary.version == "0.9.75"

    var framing: Framing
    private(set) var next: UnsafePointer<CChar>
    private(set) var areRegular = true

    init(version: UnsafePointer<CChar>) {
        framing = Framing(version: version)
        next = version + strlen(version) + 2
    }

    mutating func field(_ name: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>?) {
        framing.field(name, value)
        guard let value, name == next else {
            areRegular = false
            return
        }
        next = value + strlen(value) + 2
    }
}

extension HTTPRequestHead {
    /// The request and its end are unambiguous.
    func hasUnambiguousFraming(
        method: UnsafePointer<CChar>, url: UnsafePointer<CChar>, version: UnsafePointer<CChar>
    ) -> Bool {
        var lines = HeaderLines(version: version)
        withUnsafeMutablePointer(to: &lines) { lines in
            _ = MHD_get_connection_values(
                connection, .HEADER_KIND,
                { lines, _, name, value in
                    if let name { lines!.assumingMemoryBound(to: HeaderLines.self).pointee.field(name, value) }
                    return .YES
                }, lines)
        }
        guard lines.framing.isUnambiguous, HeaderLines.areKnown else { return lines.framing.isUnambiguous }
        // An empty line ends the header. Behind the path there is a query or nothing, not a NUL and more of the path.
        let rest = version - url - strlen(url)
        return lines.areRegular && method + sluice_mhd_header_bytes(connection) == lines.next + 2
            && (rest == 1 || rest == 2 || MHD_get_connection_values(connection, .GET_ARGUMENT_KIND, nil, nil) > 0)
    }
}
