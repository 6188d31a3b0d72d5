// Finds the name of the bearer token that a request offers.

import HTTPServer

/// Bearer tokens and their names. Only digests of the tokens are kept.
struct BearerTokens: Sendable {
    /// Bytes of a configured token.
    static let lengths = 16...256

    /// What a request offers.
    enum Claim: Equatable {
        /// No header `Authorization`, or one without a bearer token.
        case missing
        /// A bearer token that is not configured.
        case unknown
        case known(name: String)

        var name: String? { if case .known(let name) = self { name } else { nil } }
    }

    private let names: [TokenDigest: String]

    /// - Parameter tokens: by name; no two are equal.
    init(_ tokens: [String: String]) {
        names = Dictionary(
            uniqueKeysWithValues: tokens.map { name, token in (Array(token.utf8).withUnsafeBytes { TokenDigest($0) }, name) })
    }

    var isEmpty: Bool { names.isEmpty }

    func claim(_ head: borrowing HTTPRequestHead) -> Claim { head.withHeader("Authorization", claim(authorization:)) ?? .missing }

    /// - Parameter authorization: the value of the header `Authorization`.
    func claim(authorization: UnsafeRawBufferPointer) -> Claim {
        guard let token = Self.token(authorization) else { return .missing }
        return names[TokenDigest(token)].map(Claim.known) ?? .unknown
    }

    /// The token in `Bearer TOKEN` (RFC 6750, section 2.1; the scheme without case, RFC 9110, section 11.1); `nil` where the header says something else.
    static func token(_ authorization: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let scheme: StaticString = "bearer"
        guard authorization.count > scheme.utf8CodeUnitCount else { return nil }
        for index in 0..<scheme.utf8CodeUnitCount where authorization[index] | 0x20 != scheme.utf8Start[index] { return nil }
        var start = scheme.utf8CodeUnitCount
        guard authorization[start] == UInt8(ascii: " ") else { return nil }
        while start < authorization.count, authorization[start] == UInt8(ascii: " ") { start += 1 }
        return start < authorization.count ? UnsafeRawBufferPointer(rebasing: authorization[start...]) : nil
    }
}
