// Finds whose bearer token somebody has offered, in a time that says nothing about the tokens.

import HTTPServer

/// Named bearer tokens.
///
/// Every token is compared with what was offered, each as 256 bytes, and the one that matches is picked without a branch: the time depends
/// on how many tokens there are and on how long the offered one is, and on nothing else.
struct TokenTable: Sendable {
    /// Most bytes of a token.
    static let longest = 256
    /// Least bytes of a token.
    static let shortest = 16
    private static let words = longest / MemoryLayout<UInt64>.size

    private let names: [String]
    /// One token behind the other: its length, then its bytes, filled up with zeros.
    private let tokens: [UInt64]

    /// - Parameter tokens: by name; 1 to 256 bytes each, no two alike.
    init(_ tokens: [String: String]) {
        let sorted = tokens.sorted { $0.key < $1.key }
        names = sorted.map(\.key)
        self.tokens = sorted.flatMap { _, token in
            precondition(!token.isEmpty && token.utf8.count <= Self.longest, "a token has 1 to \(Self.longest) bytes")
            var padded = [UInt64](repeating: 0, count: Self.words)
            padded.withUnsafeMutableBytes { $0.copyBytes(from: token.utf8) }
            return [UInt64(token.utf8.count)] + padded
        }
    }

    var isEmpty: Bool { names.isEmpty }

    /// The name of the token; `nil`: nobody's.
    func name(of offered: UnsafeRawBufferPointer) -> String? {
        let position = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: Self.words) { padded in
            padded.initialize(repeating: 0)
            let count = min(offered.count, Self.longest)
            UnsafeMutableRawBufferPointer(padded).copyBytes(from: offered[..<count])
            let length = UInt64(offered.count)
            return tokens.withUnsafeBufferPointer { tokens in
                var found: UInt64 = 0
                for index in names.indices {
                    let start = index * (1 + Self.words)
                    var difference = length ^ tokens[start]
                    for word in 0..<Self.words { difference |= padded[word] ^ tokens[start + 1 + word] }
                    // All ones where nothing differs, zero otherwise.
                    let mask = ((difference | (0 &- difference)) >> 63) &- 1
                    found |= UInt64(index + 1) & mask
                }
                return Int(found)
            }
        }
        return position == 0 ? nil : names[position - 1]
    }

    /// The token in the header `Authorization: Bearer TOKEN` (RFC 6750, section 2.1); `nil` where it says something else.
    static func offered(_ authorization: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let scheme: StaticString = "bearer"
        guard authorization.count > scheme.utf8CodeUnitCount else { return nil }
        for index in 0..<scheme.utf8CodeUnitCount where authorization[index] | 0x20 != scheme.utf8Start[index] { return nil }
        var start = scheme.utf8CodeUnitCount
        guard authorization[start] == UInt8(ascii: " ") else { return nil }
        while start < authorization.count, authorization[start] == UInt8(ascii: " ") { start += 1 }
        return start < authorization.count ? UnsafeRawBufferPointer(rebasing: authorization[start...]) : nil
    }
}

extension TokenTable {
    /// Who a request says it is.
    enum Claim: Equatable {
        case nobody
        case unknown
        case known(String)

        /// Whose token it is; `nil`: nobody's.
        var name: String? { if case .known(let name) = self { name } else { nil } }
    }

    /// Who a request says it is, by its header `Authorization`.
    func claim(_ head: borrowing HTTPRequestHead) -> Claim {
        head.withHeader("Authorization") { value in
            guard let offered = Self.offered(value) else { return .nobody }
            return name(of: offered).map(Claim.known) ?? .unknown
        } ?? .nobody
    }
}
