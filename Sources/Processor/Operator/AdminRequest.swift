// Parses the body of an operator's request.

import Foundation
import SluiceTables

/// What an operator wants to pause, resume or retry.
struct AdminRequest: Sendable, Equatable {
    /// Most characters of a reason.
    static let reasonLimit = 500
    /// Most bytes of a body.
    static let bodyLimit = 8 << 10

    /// A body that is refused: one sentence that names the fault.
    struct Fault: Error, Equatable {
        let detail: String
    }

    let scope: PauseScope
    /// The operator's own text.
    let reason: String?

    /// - Parameter needsReason: the body must have a reason.
    init(_ body: [UInt8], needsReason: Bool) throws(Fault) {
        let document: Document
        do {
            document = try JSONDecoder().decode(Document.self, from: Data(body))
        } catch let fault as Fault {
            throw fault
        } catch DecodingError.typeMismatch {
            throw Fault(detail: "The body must be a JSON object with topic, partition and reason.")
        } catch {
            throw Fault(detail: "The body is not a JSON document.")
        }
        if document.topic == "" { throw Fault(detail: "topic must not be empty; leave it out for every topic.") }
        if let partition = document.partition {
            guard document.topic != nil else { throw Fault(detail: "partition needs a topic.") }
            guard partition >= 0 else { throw Fault(detail: "partition must not be negative; leave it out for the whole topic.") }
        }
        scope = PauseScope(topic: document.topic, partition: document.partition)
        let reason = document.reason?.trimmingCharacters(in: .whitespaces) ?? ""
        if reason.isEmpty, needsReason { throw Fault(detail: "reason must say why, in at most \(Self.reasonLimit) characters.") }
        // Scalars, because combining characters make one character of many scalars.
        guard reason.unicodeScalars.count <= Self.reasonLimit else {
            throw Fault(detail: "reason must have at most \(Self.reasonLimit) characters.")
        }
        guard !reason.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw Fault(detail: "reason must be one line without control characters.")
        }
        self.reason = reason.isEmpty ? nil : reason
    }

    private struct Document: Decodable {
        private struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(_ name: String) { stringValue = name }
            init?(stringValue: String) { self.init(stringValue) }
            init?(intValue: Int) { nil }
        }

        let topic: String?
        let partition: Int32?
        let reason: String?

        init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: Name.self)
            // If unknown members were ignored, a misspelt partition would pause the whole topic.
            if let unknown = members.allKeys.map(\.stringValue).filter({ !["topic", "partition", "reason"].contains($0) }).min() {
                throw Fault(detail: "\(unknown.prefix(40)) is not a known member; topic, partition and reason are.")
            }
            topic = try Self.member(members, "topic", "a string")
            partition = try Self.member(members, "partition", "a whole number of at most 2147483647")
            reason = try Self.member(members, "reason", "a string")
        }

        private static func member<Value: Decodable>(
            _ members: KeyedDecodingContainer<Name>, _ name: String, _ kind: String
        ) throws -> Value? {
            do {
                return try members.decodeIfPresent(Value.self, forKey: Name(name))
            } catch {
                throw Fault(detail: "\(name) must be \(kind), or left out.")
            }
        }
    }
}
