// Owns the views of a request that a handler gets: the head, and the head with the body.

internal import CMicrohttpd
internal import Glibc

/// A request's line and header fields: a view of the server's memory that is valid during the call it is passed to.
public struct HTTPRequestHead: ~Copyable {
    /// Position of the route in the handler's ``HTTPHandler/routes``.
    public let route: Int
    /// The method; HEAD on a GET route, where only the header is sent.
    public let method: HTTPMethod
    let connection: OpaquePointer
    let fields: HeaderFields

    /// A header field's value; `nil` where the field is missing. Names are compared without case.
    public func header(_ name: StaticString) -> String? { withHeader(name) { String(decoding: $0, as: UTF8.self) } }

    /// The values of every line of a header field, in the order they came. Names are compared without case.
    public func headers(_ name: String) -> [String] {
        var search = Search(name: name)
        withUnsafeMutablePointer(to: &search) { pointer in
            _ = MHD_get_connection_values(
                connection, .HEADER_KIND,
                { search, _, key, value in
                    let search = search!.assumingMemoryBound(to: Search.self)
                    if let key, let value, strcasecmp(key, search.pointee.name) == 0 {
                        search.pointee.values.append(
                            String(decoding: UnsafeRawBufferPointer.trimmed(value, strlen(value)), as: UTF8.self))
                    }
                    return .YES
                }, pointer)
        }
        return search.values
    }

    /// Calls `body` with the bytes of a header field's value, without making a string; `nil` where the field is missing.
    public func withHeader<R>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R? {
        var start: UnsafePointer<CChar>?
        var count = 0
        let found = MHD_lookup_connection_value_n(
            connection, .HEADER_KIND, name.cString, name.utf8CodeUnitCount, &start, &count)
        return found == .YES ? try body(.trimmed(start, count)) : nil
    }

    /// The header has a field Content-Type.
    public var hasContentType: Bool { fields.contentType != nil }

    /// The body's media type is `type` (`application/json`), and its charset, where it names one, is UTF-8 or a part of it. Compared without
    /// case.
    public func hasMediaType(_ type: StaticString) -> Bool {
        guard let value = fields.contentType, strncasecmp(value, type.cString, type.utf8CodeUnitCount) == 0 else {
            return false
        }
        var rest = value + type.utf8CodeUnitCount
        guard strchr("; \t", Int32(rest.pointee)) != nil else { return false }
        while let parameter = strchr(rest, Int32(UInt8(ascii: ";"))) {
            rest = UnsafePointer(parameter + 1)
            rest += strspn(rest, " \t")
            guard strncasecmp(rest, "charset=", 8) == 0 else { continue }
            rest += 8
            if rest.pointee == CChar(bitPattern: UInt8(ascii: "\"")) { rest += 1 }
            let length = strcspn(rest, "\"; \t")
            let known: [StaticString] = ["utf-8", "utf8", "us-ascii"]
            return known.contains { $0.utf8CodeUnitCount == length && strncasecmp(rest, $0.cString, length) == 0 }
        }
        return true
    }

    /// How the body is compressed; `nil`: it is not. `isKnown`: it is in a way that is decoded, or not at all.
    var contentCoding: (coding: ContentCoding?, isKnown: Bool) {
        guard fields.hasContentCoding else { return (nil, true) }
        return switch headers("Content-Encoding").joined(separator: ",").lowercased() {
        case "", "identity": (nil, true)
        case "gzip", "x-gzip": (.gzip, true)
        case "deflate": (.deflate, true)
        default: (nil, false)
        }
    }

    /// The Content-Length; `nil` for a chunked body, 0 where there is no body.
    public var contentLength: Int? { fields.contentLength }

    /// The client's address; `nil` where it is unknown.
    public var peer: SocketAddress? { sluice_mhd_client_address(connection).flatMap { SocketAddress($0) } }

    /// The client's address as text; empty where it is unknown.
    public var remoteAddress: String { peer?.text ?? "" }
}

/// The state of a walk over header fields.
private struct Search {
    let name: String
    var values: [String] = []
}

/// A whole request: a view of the server's memory that is valid during the call it is passed to.
public struct HTTPRequest: ~Copyable {
    /// The request's line and header fields.
    public let head: HTTPRequestHead
    /// The body. At least 64 bytes after its end may be read (their content is undefined), as simdjson requires.
    public let body: UnsafeRawBufferPointer
    /// Bytes of the body as they came off the wire, those included that the handler passed over with ``HTTPBodyChoice/skip``.
    public let wireBytes: Int
}

extension UnsafeRawBufferPointer {
    /// A field's value without the white space at its end (RFC 9112, section 5), which libmicrohttpd leaves.
    fileprivate static func trimmed(_ start: UnsafePointer<CChar>?, _ count: Int) -> UnsafeRawBufferPointer {
        let value = UnsafeRawBufferPointer(start: start, count: count)
        let end = value.lastIndex { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        return UnsafeRawBufferPointer(rebasing: value[..<(end.map { $0 + 1 } ?? 0)])
    }
}

extension StaticString {
    /// The text as a C string. It must not be a literal of a single scalar.
    var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
