// Parses the body of an operator's request.

import Foundation
import SluiceTables

/// What an operator wants to pause, resume or retry.
struct AdminRequest: Sendable, Equatable {
    /// Most characters of a reason.
    static let reasonLimit = 500
    /// Most bytes of a body.
    static let bodyLimit = 8 << 10

    let scope: PauseScope
    /// The operator's own text.
    let reason: String?

    /// - Parameter needsReason: the body must have a reason.
    /// - Throws: 400 with a sentence that names the fault.
    init(_ body: [UInt8], needsReason: Bool) throws(ProblemDetails) {
        let members: [String: Member]
        do {
            members = try JSONDecoder().decode([String: Member].self, from: Data(body))
        } catch DecodingError.typeMismatch {
            throw Self.fault("The body must be a JSON object with topic, partition and reason.")
        } catch {
            throw Self.fault("The body is not a JSON document.")
        }
        // If unknown members were ignored, a misspelt partition would pause the whole topic.
        if let unknown = members.keys.filter({ !["topic", "partition", "reason"].contains($0) }).min() {
            throw Self.fault("\(unknown.prefix(40)) is not a known member; topic, partition and reason are.")
        }
        func member<Value>(_ name: String, _ kind: String, _ value: (Member) -> Value?) throws(ProblemDetails) -> Value? {
            guard let member = members[name], !member.isNull else { return nil }
            guard let value = value(member) else { throw Self.fault("\(name) must be \(kind), or left out.") }
            return value
        }
        let topic = try member("topic", "a string") { $0.text }
        let partition = try member("partition", "a whole number of at most 2147483647") { $0.number }
        let reason = try member("reason", "a string") { $0.text }?.trimmingCharacters(in: .whitespaces) ?? ""
        if topic == "" { throw Self.fault("topic must not be empty; leave it out for every topic.") }
        if let partition {
            guard topic != nil else { throw Self.fault("partition needs a topic.") }
            guard partition >= 0 else { throw Self.fault("partition must not be negative; leave it out for the whole topic.") }
        }
        scope = PauseScope(topic: topic, partition: partition)
        if reason.isEmpty, needsReason { throw Self.fault("reason must say why, in at most \(Self.reasonLimit) characters.") }
        // Scalars, because combining characters make one character of many scalars.
        guard reason.unicodeScalars.count <= Self.reasonLimit else {
            throw Self.fault("reason must have at most \(Self.reasonLimit) characters.")
        }
        guard !reason.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw Self.fault("reason must be one line without control characters.")
        }
        self.reason = reason.isEmpty ? nil : reason
    }

    private static func fault(_ detail: String) -> ProblemDetails { ProblemDetails(status: 400, detail: detail) }

    /// A member of the body as each kind of value that it is.
    private struct Member: Decodable {
        let isNull: Bool
        let text: String?
        let number: Int32?

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            (isNull, text, number) = (value.decodeNil(), try? value.decode(String.self), try? value.decode(Int32.self))
        }
    }
}
