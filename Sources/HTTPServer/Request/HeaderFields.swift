// Owns what one pass over a request's target and header finds: whether its end is unambiguous, and the fields that the server needs.

internal import CMicrohttpd
internal import Glibc

/// The header fields that the server itself reads. Their values lie in the connection's memory until the request is over.
///
/// Those that delimit a request (RFC 9112, section 6) may come once: servers read a repeated or contradictory length differently, which
/// allows request smuggling.
struct HeaderFields {
    typealias Value = UnsafePointer<CChar>

    private(set) var isUnambiguous = true
    private(set) var contentType: Value?
    private(set) var hasContentCoding = false
    private var length: Value?
    private var transferCoding: Value?
    private var host: Value?
    private var expect: Value?
    private let knowsChunks: Bool

    /// - Parameter version: `HTTP/1.1`. HTTP/1.0 has no chunks: a proxy that speaks it finds another end of the request.
    init(version: UnsafePointer<CChar>) { knowsChunks = strcmp(version, "HTTP/1.0") != 0 }

    /// Reads the target and the header of a request.
    init(
        of connection: OpaquePointer, method: UnsafePointer<CChar>, url: UnsafePointer<CChar>, version: UnsafePointer<CChar>
    ) {
        var parts = RequestParts(url: url, version: version)
        sluice_mhd_parts(
            connection,
            { parts, kind, name, nameCount, value, count in
                if let name {
                    parts!.assumingMemoryBound(to: RequestParts.self).pointee.part(kind, name, nameCount, value, count)
                }
                return .YES
            }, &parts)
        self = parts.fields
        // An empty line ends the header.
        if RequestParts.areKnown, !parts.areRegular || method + sluice_mhd_header_bytes(connection) != parts.nextLine + 2 {
            isUnambiguous = false
        }
    }

    mutating func field(_ name: UnsafePointer<CChar>, _ nameCount: Int, _ value: Value?) {
        func isName(_ known: StaticString) -> Bool { strncasecmp(name, known.cString, known.utf8CodeUnitCount) == 0 }
        // By length first: this runs for every field of every request.
        switch nameCount {
        case 4 where isName("Host"): isUnambiguous = Self.isFirst(&host, value) && isUnambiguous
        case 6 where isName("Expect"): expect = expect ?? value
        case 12 where isName("Content-Type"): contentType = contentType ?? value
        case 14 where isName("Content-Length"): isUnambiguous = Self.isFirst(&length, value) && isUnambiguous
        case 16 where isName("Content-Encoding"): hasContentCoding = true
        case 17 where isName("Transfer-Encoding"):
            let isChunked = value.map { strcasecmp($0, "chunked") == 0 } ?? false
            isUnambiguous = Self.isFirst(&transferCoding, value) && isChunked && isUnambiguous
        default:
            // `Content-Length : 5` is this field to some servers and an unknown one to others (RFC 9112, section 5.1).
            if nameCount > 0, name[nameCount - 1] == 0x20 || name[nameCount - 1] == 0x09 { isUnambiguous = false }
        }
        if transferCoding != nil, length != nil || !knowsChunks { isUnambiguous = false }
    }

    private static func isFirst(_ known: inout Value?, _ value: Value?) -> Bool {
        defer { known = value }
        return known == nil
    }

    /// The Content-Length; `nil` for a chunked body, 0 where there is no body.
    var contentLength: Int? {
        if transferCoding != nil { return nil }
        // libmicrohttpd has refused everything but digits that fit 64 bits.
        return length.map { Int(clamping: strtoull($0, nil, 10)) } ?? 0
    }

    var expectsContinue: Bool { expect.map { strcasecmp($0, "100-continue") == 0 } ?? false }
}

/// The parts of a target and of a header, by where libmicrohttpd has left them in memory.
///
/// Its version 0.9.75 ends a line at a bare LF, joins folded lines wrongly, and cuts a target or a value at a NUL, without a word of it: to
/// a proxy such a request may be another one. In what is well formed, each argument of a query begins one byte after the last one, whose
/// separator is zero now, and each line of the header two, whose CR LF are zeros.
private struct RequestParts {
    /// Other versions may leave the request otherwise, and refuse such ones by themselves (`MHD_OPTION_STRICT_FOR_CLIENT`).
    static let areKnown = HTTPLibrary.version == "0.9.75"

    var fields: HeaderFields
    private let version: UnsafePointer<CChar>
    private var nextArgument: UnsafePointer<CChar>
    private(set) var nextLine: UnsafePointer<CChar>
    private var areInOrder = true

    init(url: UnsafePointer<CChar>, version: UnsafePointer<CChar>) {
        fields = HeaderFields(version: version)
        self.version = version
        nextArgument = url + strlen(url) + 1
        nextLine = version + strlen(version) + 2
    }

    /// The target ends before the version: with its last argument, or with a `?` or `&` that none follows.
    var areRegular: Bool { areInOrder && (nextArgument == version || nextArgument + 1 == version) }

    mutating func part(
        _ kind: MHD_ValueKind, _ name: UnsafePointer<CChar>, _ nameCount: Int, _ value: UnsafePointer<CChar>?, _ count: Int
    ) {
        let end = value.map { $0 + count } ?? name + nameCount
        if kind == .HEADER_KIND {
            fields.field(name, nameCount, value)
            areInOrder = areInOrder && name == nextLine && value != nil
            nextLine = end + 2
        } else {
            areInOrder = areInOrder && name == nextArgument
            nextArgument = end + 1
        }
    }
}
