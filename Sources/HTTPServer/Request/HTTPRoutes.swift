// Owns the route table: a method and a path give a route's number, without making a string.

internal import Glibc

/// One route: a method and an exact path.
public struct HTTPRoute: Sendable, Equatable {
    /// The method. A route for GET serves HEAD too, unless HEAD has a route of its own.
    public let method: HTTPMethod
    /// The whole path, percent-decoded, without a query.
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
        /// The path is known, the method is not; `path` is an index of ``allow``.
        case wrongMethod(path: Int)
        case notFound
    }

    private struct Entry {
        let method: HTTPMethod
        let start: Int
        let length: Int
        let path: Int
    }

    /// The routes, as given.
    public let routes: [HTTPRoute]
    /// Values of the `Allow` header, by path.
    let allow: [String]
    private let entries: [Entry]
    private let bytes: [UInt8]

    /// - Parameter routes: no two alike; paths begin with a slash.
    public init(_ routes: [HTTPRoute]) {
        var entries: [Entry] = []
        var bytes: [UInt8] = []
        var methods: [[HTTPMethod]] = []
        var paths: [String: Int] = [:]
        for route in routes {
            precondition(route.method != .other && route.path.hasPrefix("/"), "\(route) can never be requested")
            let path = paths[route.path] ?? methods.count
            if paths.updateValue(path, forKey: route.path) == nil { methods.append([]) }
            precondition(!methods[path].contains(route.method), "\(route) is there twice")
            methods[path].append(route.method)
            let utf8 = Array(route.path.utf8)
            entries.append(Entry(method: route.method, start: bytes.count, length: utf8.count, path: path))
            bytes += utf8
        }
        self.routes = routes
        self.entries = entries
        self.bytes = bytes
        allow = methods.map { methods in
            let withHead = methods.contains(.get) && !methods.contains(.head) ? methods + [.head] : methods
            return withHead.map(\.rawValue).joined(separator: ", ")
        }
    }

    func match(_ method: HTTPMethod, _ path: UnsafePointer<CChar>) -> Match {
        let length = strlen(path)
        return bytes.withUnsafeBytes { known in
            var match = Match.notFound
            var position = 0
            for entry in entries {
                defer { position += 1 }
                guard entry.length == length, memcmp(known.baseAddress! + entry.start, path, length) == 0 else { continue }
                if entry.method == method { return .route(position) }
                if entry.method == .get, method == .head {
                    match = .route(position)
                } else if match == .notFound {
                    match = .wrongMethod(path: entry.path)
                }
            }
            return match
        }
    }
}
