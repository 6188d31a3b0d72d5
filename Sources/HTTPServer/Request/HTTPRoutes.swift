// Owns the route table: a method and a path give a route's number, without making a string.

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

/// One route: a method and an exact path.
public struct HTTPRoute: Sendable, Equatable {
    /// The method. A route for GET serves HEAD too, unless HEAD has a route of its own.
    public let method: HTTPMethod
    /// The whole path, without a query. It has no character that is percent-encoded.
    public let path: String

    /// A method and an exact path.
    public init(_ method: HTTPMethod, _ path: String) {
        self.method = method
        self.path = path
    }
}

/// The routes of a server. A route's number is its position in the list the table is made from.
public struct HTTPRoutes: Sendable {
    enum Match: Equatable {
        case route(Int)
        /// The path is known, the method is not; `allow` is the value of the header `Allow`.
        case wrongMethod(allow: String)
        case notFound
        /// The path has a percent-encoding that is malformed, or that other servers decode before they compare: `%2F`, `%00`, and those of
        /// characters that need none.
        case ambiguous
    }

    /// The routes, as given.
    public let routes: [HTTPRoute]
    /// By route.
    private let paths: [[UInt8]]

    /// - Parameter routes: no two alike; paths begin with a slash.
    public init(_ routes: [HTTPRoute]) {
        for (position, route) in routes.enumerated() {
            precondition(route.method != .other && route.path.hasPrefix("/"), "\(route) can never be requested")
            precondition(!routes[..<position].contains(route), "\(route) is there twice")
        }
        self.routes = routes
        paths = routes.map { Array($0.path.utf8) }
    }

    /// - Parameter target: the request's target without its query, as it came: a path, or an absolute URI (RFC 9112, section 3.2.2).
    func match(_ method: HTTPMethod, _ target: UnsafePointer<CChar>) -> Match {
        let path = Self.path(of: target)
        let length = strlen(path)
        guard memchr(path, Int32(UInt8(ascii: "%")), length) == nil else {
            return Self.isAmbiguous(UnsafeBufferPointer(start: path, count: length)) ? .ambiguous : .notFound
        }
        var match = Match.notFound
        for (position, known) in paths.enumerated() where known.count == length && memcmp(known, path, length) == 0 {
            if routes[position].method == method { return .route(position) }
            if routes[position].method == .get, method == .head {
                match = .route(position)
            } else if match == .notFound {
                match = .wrongMethod(allow: allow(routes[position].path))
            }
        }
        return match
    }

    private func allow(_ path: String) -> String {
        let methods = routes.filter { $0.path == path }.map(\.method)
        let withHead = methods.contains(.get) && !methods.contains(.head) ? methods + [.head] : methods
        return withHead.map(\.rawValue).joined(separator: ", ")
    }

    private static let root: StaticString = "/\0"

    private static func path(of target: UnsafePointer<CChar>) -> UnsafePointer<CChar> {
        if target.pointee == CChar(bitPattern: UInt8(ascii: "/")) { return target }
        for scheme in ["http://", "https://"] as [StaticString]
        where strncasecmp(target, scheme.cString, scheme.utf8CodeUnitCount) == 0 {
            let authority = target + scheme.utf8CodeUnitCount
            let end = authority + strcspn(authority, "/")
            return end.pointee == 0 ? Self.root.cString : UnsafePointer(end)
        }
        return target
    }

    private static func isAmbiguous(_ path: UnsafeBufferPointer<CChar>) -> Bool {
        var at = path.startIndex
        while let percent = path[at...].firstIndex(of: CChar(bitPattern: UInt8(ascii: "%"))) {
            at = percent + 3
            guard at <= path.endIndex else { return true }
            let digits = String(decoding: path[percent + 1..<at].lazy.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard let byte = UInt8(digits, radix: 16), !digits.hasPrefix("+") else { return true }
            switch byte {
            case 0, UInt8(ascii: "/"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), 0x30...0x39,
                0x41...0x5A, 0x61...0x7A:
                return true
            default: break
            }
        }
        return false
    }
}
