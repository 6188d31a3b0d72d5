// Owns a response: status, header fields and body, in memory or written while it is sent.

internal import CMicrohttpd
internal import Glibc
public import Platform

/// A status, header fields and a body.
///
/// libmicrohttpd adds Date, Content-Length and Connection; `("Connection", "close")` ends the connection after the response.
public struct HTTPResponse: Sendable {
    enum Content: Sendable {
        case built(headers: [(name: String, value: String)], body: [UInt8])
        case prepared(PreparedResponse)
        case streamed(headers: [(name: String, value: String)], source: any HTTPBodySource)
    }

    /// The status code.
    public let status: Int
    let content: Content

    private init(status: Int, content: Content) {
        self.status = status
        self.content = content
    }

    /// - Parameter headers: names and values without line breaks. With a line break in one the response becomes a 500.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.init(status: status, content: .built(headers: headers, body: body))
    }

    /// A response whose body is written while it is sent. `source` is released when the response was sent, or could not be.
    public init(status: Int, headers: [(name: String, value: String)], source: any HTTPBodySource) {
        self.init(status: status, content: .streamed(headers: headers, source: source))
    }

    /// Plain text.
    public static func text(_ status: Int, _ text: String, headers: [(name: String, value: String)] = []) -> HTTPResponse {
        HTTPResponse(status: status, headers: [("Content-Type", "text/plain; charset=utf-8")] + headers, body: Array(text.utf8))
    }

    /// A JSON document.
    public static func json(
        _ status: Int, _ value: JSONValue, headers: [(name: String, value: String)] = []
    ) -> HTTPResponse {
        HTTPResponse(status: status, headers: [("Content-Type", "application/json")] + headers, body: value.utf8)
    }

    /// The usual text of a status, such as `Not Found`.
    public static func reason(_ status: Int) -> String { String(cString: MHD_get_reason_phrase_for(UInt32(status))) }

    /// The same response in libmicrohttpd's form, made once and shared by all requests that get it. For frequent responses: nothing is
    /// allocated or copied for a request.
    public func prepared() -> HTTPResponse {
        guard case .built(let headers, let body) = content else { return self }
        guard let handle = ResponseHandle(headers: headers, body: body) else {
            preconditionFailure("a header of the prepared response \(status) has a line break: \(headers.map(\.name))")
        }
        return HTTPResponse(status: status, content: .prepared(PreparedResponse(handle, headers: headers, body: body)))
    }

    /// The response as it goes over the wire, with `Connection: close`, for the cases in which it is sent past libmicrohttpd. Only for bodies
    /// in memory.
    func serialized(withBody: Bool, at time: time_t) -> [UInt8] {
        let (fields, body): ([(name: String, value: String)], [UInt8]) =
            switch content {
            case .built(let headers, let body): (headers, body)
            case .prepared(let prepared): (prepared.headers, prepared.body)
            case .streamed: preconditionFailure("the response \(status) has no body in memory")
            }
        let lines =
            [
                "HTTP/1.1 \(status) \(Self.reason(status))", "Date: \(Self.date(time))", "Connection: close",
                "Content-Length: \(body.count)",
            ]
            + fields.filter { $0.name != "Connection" }.map { "\($0.name): \($0.value)" }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (withBody ? body : [])
    }

    /// As in a header field (RFC 9110, section 5.6.7). No part depends on the locale: the process has the one of C.
    private static func date(_ time: time_t) -> String {
        var (time, parts) = (time, tm())
        gmtime_r(&time, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
            strftime(text.baseAddress!, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            return String(cString: text.baseAddress!)
        }
    }
}

/// A body of known length that is written while it is sent, so that it never lies in memory as a whole.
public protocol HTTPBodySource: AnyObject, Sendable {
    /// Bytes of the whole body.
    var byteCount: Int { get }

    /// Writes the bytes after the first `position`. Called on the server's loop thread, each call where the last one ended.
    /// - Returns: how many bytes were written: at least one, at most the size of `buffer`.
    func write(from position: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int
}
