// An HTTP response, as tests read it.

internal import Foundation

extension LoopbackHTTP {
    /// One answer.
    public struct Answer: Sendable {
        /// The status code.
        public let status: Int
        /// Values by name in lower case; of several with one name the first.
        public let headers: [String: String]
        /// The body.
        public let body: [UInt8]

        /// - Parameter head: everything before the empty line.
        init(head: some Sequence<UInt8>, body: [UInt8]) {
            let lines = String(decoding: Array(head), as: UTF8.self).components(separatedBy: "\r\n")
            status = Int(lines[0].split(separator: " ").dropFirst().first ?? "") ?? 0
            headers = Dictionary(
                lines.dropFirst().map { line in
                    let pair = line.split(separator: ":", maxSplits: 1)
                    return (pair[0].lowercased(), pair.count > 1 ? pair[1].trimmingCharacters(in: .whitespaces) : "")
                }, uniquingKeysWith: { first, _ in first })
            self.body = body
        }

        /// - Parameter bytes: everything a connection brought until it ended.
        public init(parsing bytes: [UInt8]) throws {
            guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
                throw Failure(description: "no answer: \(String(decoding: bytes.prefix(200), as: UTF8.self))")
            }
            self.init(head: bytes[..<end.lowerBound], body: Array(bytes[end.upperBound...]))
        }

        /// The body as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
        /// Seconds of `Retry-After`.
        public var retryAfter: Int? { headers["retry-after"].flatMap { Int($0) } }

        /// The body, read as JSON.
        public func json<T: Decodable>(_ type: T.Type) throws -> T { try JSONDecoder().decode(type, from: Data(body)) }
    }

    /// Sends a request, which must ask for the connection to be closed, and reads the answer.
    public static func ask(_ request: String, port: UInt16) async throws -> Answer {
        try Answer(parsing: try await exchange(request, port: port))
    }
}
