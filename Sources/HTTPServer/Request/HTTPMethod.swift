// Owns the request methods a route can have.

internal import Glibc

/// A request method (RFC 9110, section 9).
public enum HTTPMethod: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    /// A method no route has.
    case other = ""

    /// Parses the method of a request line, without making a string. Methods are case-sensitive.
    init(_ name: UnsafePointer<CChar>) {
        self = strcmp(name, "POST") == 0 ? .post : strcmp(name, "GET") == 0 ? .get : strcmp(name, "HEAD") == 0 ? .head : .other
    }
}
