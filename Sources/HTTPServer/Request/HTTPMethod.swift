// Owns the request methods a route can have.

internal import Glibc

/// A request method (RFC 9110, section 9).
public enum HTTPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case delete = "DELETE"
    case patch = "PATCH"
    case options = "OPTIONS"
    /// A method no route can have.
    case other = ""

    /// Parses the method of a request line. Methods are case-sensitive.
    init(_ name: UnsafePointer<CChar>) {
        // Branches by the first letter: this runs for every request, and making a Swift string would cost more than the comparison.
        let candidate: HTTPMethod
        switch UInt8(bitPattern: name[0]) {
        case UInt8(ascii: "P"):
            switch UInt8(bitPattern: name[1]) {
            case UInt8(ascii: "O"): candidate = .post
            case UInt8(ascii: "U"): candidate = .put
            default: candidate = .patch
            }
        case UInt8(ascii: "G"): candidate = .get
        case UInt8(ascii: "H"): candidate = .head
        case UInt8(ascii: "D"): candidate = .delete
        case UInt8(ascii: "O"): candidate = .options
        default:
            self = .other
            return
        }
        self = strcmp(name, candidate.token.utf8Start) == 0 ? candidate : .other
    }

    private var token: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .patch: "PATCH"
        case .options: "OPTIONS"
        case .other: ""
        }
    }
}
