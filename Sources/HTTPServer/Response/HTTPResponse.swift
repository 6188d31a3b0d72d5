// Owns what a request is answered with.

/// A status, header fields and a body.
///
/// Date, Content-Length and Connection are the library's business; `("Connection", "close")` ends the connection after the answer.
public struct HTTPResponse: Sendable {
    enum Content: Sendable {
        case built(headers: [(name: String, value: String)], body: [UInt8])
        case prepared(PreparedResponse)
        case written(headers: [(name: String, value: String)], source: any HTTPBodySource)
    }

    /// The status code.
    public let status: Int
    let content: Content

    private init(status: Int, content: Content) {
        self.status = status
        self.content = content
    }

    /// - Parameter headers: names and values without line breaks. Fields that break this rule turn the answer into a 500.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.init(status: status, content: .built(headers: headers, body: body))
    }

    /// An answer whose body is written while it is sent. `source` is let go when the answer was sent, or could not be.
    public init(status: Int, headers: [(name: String, value: String)], source: any HTTPBodySource) {
        self.init(status: status, content: .written(headers: headers, source: source))
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

    /// Problem details (RFC 9457), as `application/problem+json`.
    /// - Parameters:
    ///   - title: the kind of problem, the same for every occurrence.
    ///   - detail: this occurrence, and what to do about it.
    ///   - type: a URI that names the kind of problem; `about:blank`: nothing is to be said beyond the status.
    ///   - extra: further members, in order.
    public static func problem(
        status: Int, title: String, detail: String, type: String = "about:blank", extra: [JSONValue.Member] = [],
        headers: [(name: String, value: String)] = []
    ) -> HTTPResponse {
        let members: [JSONValue.Member] = [
            .init("type", .string(type)), .init("title", .string(title)), .init("status", .integer(status)),
            .init("detail", .string(detail)),
        ]
        return HTTPResponse(
            status: status, headers: [("Content-Type", "application/problem+json")] + headers,
            body: JSONValue.object(members + extra).utf8)
    }

    /// The same answer in the library's own form, made once and shared by every request that is answered with it. For answers that
    /// are given often: nothing is then allocated or copied for one.
    public func prepared() -> HTTPResponse {
        guard case .built(let headers, let body) = content else { return self }
        guard let handle = ResponseHandle(headers: headers, body: body) else {
            preconditionFailure("a header of the prepared answer \(status) has a line break: \(headers.map(\.name))")
        }
        return HTTPResponse(status: status, content: .prepared(PreparedResponse(handle)))
    }
}
