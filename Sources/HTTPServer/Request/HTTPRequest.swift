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

    /// A header field's value; `nil` where the field is missing. Names are compared without case.
    public func header(_ name: String) -> String? {
        var start: UnsafePointer<CChar>?
        var count = 0
        guard MHD_lookup_connection_value_n(connection, .HEADER_KIND, name, name.utf8.count, &start, &count) == .YES else {
            return nil
        }
        guard let start else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }

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

    /// Calls `body` with the bytes of a header field's value, without making a string; `nil` where the field is missing.
    public func withHeader<R>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R? {
        guard let value = MHD_lookup_connection_value(connection, .HEADER_KIND, name.cString) else { return nil }
        return try body(UnsafeRawBufferPointer(start: value, count: strlen(value)))
    }

    /// The body's media type is `type` (`application/json`), whatever its parameters. Compared without case.
    public func hasMediaType(_ type: StaticString) -> Bool {
        guard let value = MHD_lookup_connection_value(connection, .HEADER_KIND, "Content-Type"),
            strncasecmp(value, type.cString, type.utf8CodeUnitCount) == 0
        else { return false }
        switch UInt8(bitPattern: value[type.utf8CodeUnitCount]) {
        case 0, UInt8(ascii: ";"), UInt8(ascii: " "), UInt8(ascii: "\t"): return true
        default: return false
        }
    }

    /// The Content-Length; `nil` for a chunked body, 0 where there is no body.
    public var contentLength: Int? {
        if MHD_lookup_connection_value(connection, .HEADER_KIND, "Transfer-Encoding") != nil { return nil }
        guard let value = MHD_lookup_connection_value(connection, .HEADER_KIND, "Content-Length") else { return 0 }
        // libmicrohttpd has refused everything but digits that fit 64 bits.
        return Int(clamping: strtoull(value, nil, 10))
    }

    /// The client's address; `nil` where it is unknown.
    public var peer: SocketAddress? { sluice_mhd_client_address(connection).flatMap { SocketAddress($0) } }

    /// The client's address as text; empty where it is unknown.
    public var remoteAddress: String { peer?.text ?? "" }

    var expectsContinue: Bool {
        guard let value = MHD_lookup_connection_value(connection, .HEADER_KIND, "Expect") else { return false }
        return strcasecmp(value, "100-continue") == 0
    }
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
    /// Bytes of the body that were taken off the wire: more than `body` has where the handler skipped some.
    public let wireBytes: Int
}

extension StaticString {
    /// The text as a C string. It must not be a literal of a single scalar.
    var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
