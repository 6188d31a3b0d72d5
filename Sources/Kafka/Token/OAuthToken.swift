// Reads an OAUTHBEARER token from what a program prints.

internal import Foundation

/// A bearer token with what librdkafka wants to know about it.
struct OAuthToken: Sendable, Equatable {
    /// Why an output is no token: the predicate of a sentence whose subject is the program. It quotes nothing of the output.
    struct Refusal: Error, Equatable {
        let description: String
    }

    let value: String
    /// Milliseconds since 1970.
    let expires: Int64
    /// Who the token is for, as far as it says so: for librdkafka's log lines only. It is not sent to the broker.
    let principal: String
    /// SASL extensions (RFC 7628, section 3.1), which some brokers want, such as Confluent Cloud's `logicalCluster`.
    let extensions: [String: String]

    /// The answer of a token endpoint (RFC 6749, section 5.1), with extensions beside it.
    private struct Answer: Decodable {
        let access_token: String
        let expires_in: Seconds?
        let extensions: [String: String]?
    }

    /// A number, or text with one, as some endpoints write it.
    private struct Seconds: Decodable {
        let count: Double

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let count = try? value.decode(Double.self) {
                self.count = count
            } else if let count = Double(try value.decode(String.self)) {
                self.count = count
            } else {
                throw DecodingError.dataCorruptedError(in: value, debugDescription: "not a number")
            }
        }
    }

    /// The claims of a JSON Web Token that are read (RFC 7519, section 4.1).
    private struct Claims: Decodable {
        let exp: Double?
        let sub: String?
    }

    /// - Parameters:
    ///   - output: a JSON Web Token, or a JSON object as a token endpoint returns it.
    ///   - now: milliseconds since 1970 from which `expires_in` counts.
    init(_ output: String, now: Int64) throws(Refusal) {
        let text = output.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw Refusal(description: "has printed no token") }
        var lifetime: Double?
        if text.hasPrefix("{") {
            guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8)) else {
                throw Refusal(description: "has printed JSON that is not {\"access_token\": text, \"expires_in\": seconds}")
            }
            (value, lifetime, extensions) = (answer.access_token, answer.expires_in?.count, answer.extensions ?? [:])
        } else {
            (value, extensions) = (text, [:])
        }
        guard !value.isEmpty, value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Refusal(description: "has printed neither JSON nor one token: a token has visible ASCII characters only")
        }
        let claims = Self.claims(of: value)
        principal = claims?.sub ?? ""
        let end = lifetime.map { Double(now) + $0 * 1000 } ?? claims?.exp.map { $0 * 1000 }
        guard let end, end.isFinite else {
            throw Refusal(
                description: "has printed a token without its end: neither expires_in, nor a JSON Web Token with the claim exp")
        }
        guard end > Double(now) else { throw Refusal(description: "has printed a token that has expired") }
        // librdkafka counts in microseconds: a later end would overflow.
        expires = Int64(min(end, 1e15))
    }

    private static func claims(of token: String) -> Claims? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3 else { return nil }
        var body = parts[1].replacing("-", with: "+").replacing("_", with: "/")
        body += String(repeating: "=", count: (4 - body.utf8.count % 4) % 4)
        return Data(base64Encoded: String(body)).flatMap { try? JSONDecoder().decode(Claims.self, from: $0) }
    }
}
