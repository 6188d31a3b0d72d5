// Decides who may use the operator's routes.

import HTTPServer

/// A bearer token where one is configured; without one, this machine only.
struct AdminAccess: Sendable {
    /// What becomes of a request.
    enum Decision: Sendable, Equatable {
        /// It is obeyed, in this name.
        case admitted(as: String)
        /// It names no token, or a wrong one.
        case unauthorized(isWrong: Bool)
        /// Nobody could be admitted this way: one sentence with the remedy.
        case forbidden(String)
    }

    /// What is known of a request's sender.
    struct Sender: Sendable {
        var authorization: String?
        /// Numeric address.
        var peer: String
        /// The header `Host`: what the client believes it talks to.
        var host: String?
        /// Somebody in between says that he passes it on.
        var isForwarded = false
    }

    private static let remedy = "Set http.admin_token (a file: SLUICE_HTTP_ADMIN_TOKEN_FILE) and send it as a bearer token."

    private let token: [UInt8]
    private let isBoundToLoopback: Bool

    /// - Parameters:
    ///   - token: empty: none.
    ///   - isBoundToLoopback: nobody but this machine can reach the listener.
    init(token: String, isBoundToLoopback: Bool) {
        self.token = Array(token.utf8)
        self.isBoundToLoopback = isBoundToLoopback
    }

    /// As these settings have it.
    init(_ http: HTTPSettings) {
        self.init(token: http.adminToken, isBoundToLoopback: HTTPSettings.isLoopback(http.host))
    }

    func decide(_ sender: Sender) -> Decision {
        if !token.isEmpty {
            guard let authorization = sender.authorization else { return .unauthorized(isWrong: false) }
            let parts = authorization.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
            guard parts.count == 2, parts[0].lowercased() == "bearer" else { return .unauthorized(isWrong: false) }
            let offered = Array(parts[1].utf8.drop { $0 == UInt8(ascii: " ") })
            return Self.isEqual(offered, token) ? .admitted(as: "admin_token") : .unauthorized(isWrong: true)
        }
        guard isBoundToLoopback else {
            return .forbidden("Without a token these routes work only while the server listens on loopback. \(Self.remedy)")
        }
        guard HTTPSettings.isLoopback(sender.peer), !sender.isForwarded else {
            return .forbidden("Without a token these routes work only from the server's own machine. \(Self.remedy)")
        }
        // A page elsewhere whose name resolves to this machine would talk to us in its own name.
        guard sender.host.map({ HTTPSettings.isLoopback(Self.name(ofHost: $0)) }) ?? true else {
            return .forbidden("Without a token these routes must be asked for as localhost or 127.0.0.1. \(Self.remedy)")
        }
        return .admitted(as: "loopback")
    }

    /// Compares in a time that tells the length of what was offered, and nothing of the token.
    static func isEqual(_ offered: [UInt8], _ token: [UInt8]) -> Bool {
        precondition(!token.isEmpty, "an empty token admits nobody")
        var difference = offered.count ^ token.count
        for (index, byte) in offered.enumerated() { difference |= Int(byte ^ token[index % token.count]) }
        return difference == 0
    }

    /// `[::1]:8000` is `::1`, `localhost:8000` is `localhost`.
    static func name(ofHost host: String) -> String {
        if host.hasPrefix("[") { return String(host.dropFirst().prefix { $0 != "]" }) }
        return host.prefix { $0 != ":" }.lowercased()
    }
}

extension AdminAccess.Sender {
    init(_ head: borrowing HTTPRequestHead) {
        self.init(
            authorization: head.header("Authorization"), peer: head.remoteAddress, host: head.header("Host"),
            isForwarded: ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"].contains { head.header($0) != nil })
    }
}
