// Owns the compiled route: which value of a record chooses which mapping.

import Platform
import Records

/// How the records of a topic that several mappings read are divided among them: by the value of a field or header, or by the topic's name.
public struct Route: Sendable {
    /// What happens to a record that no table is for.
    public enum Otherwise: String, Sendable, CaseIterable {
        /// It becomes a dead letter.
        case deadLetter = "dead_letter"
        /// It is skipped and counted.
        case skip
    }

    /// Where the value is.
    enum Source: Equatable {
        /// A field of the event: its slot.
        case field(Int)
        /// The last header of the name, which is the only one of ``DecodePlan/headers``.
        case header
        case topic
    }

    /// The prefix of ``by`` before the name of a header.
    private static let header = "header."

    /// Where the value is, as the configuration says it.
    let by: String
    let source: Source
    /// The values with the positions of their mappings.
    let tables: [(value: String, mapping: Int)]
    let otherwise: Otherwise
    /// Looks the field up; the values are the words of its conditions.
    let plan: DecodePlan

    /// - Parameters:
    ///   - by: a JSON Pointer into the event, `header.NAME`, or `topic`.
    ///   - tables: each value with the position of its mapping.
    /// - Returns: `nil` where `by` is none of the three.
    public init?(by: String, tables: [(value: String, mapping: Int)], otherwise: Otherwise) {
        let tree = SlotTree()
        var pointer: JSONPointer?
        var headers: [String] = []
        if by.hasPrefix(Self.header), by != Self.header {
            headers = [String(by.dropFirst(Self.header.count))]
        } else if by != "topic" {
            guard let parsed = JSONPointer(by), !parsed.tokens.isEmpty else { return nil }
            tree.insertForCondition(parsed)
            pointer = parsed
        }
        let layout = tree.layout()
        source = pointer.flatMap { layout.slots[$0] }.map { .field($0) } ?? (headers.isEmpty ? .topic : .header)
        plan = DecodePlan(
            layout: layout, columns: [], key: [], envelope: Envelope(.upsert, slots: Envelope.Slots(), words: []), mode: .append,
            conditions: Conditions([], words: tables.map(\.value)), kafkaKey: .none, kafkaKeyMismatch: .ignore,
            nullPayload: nil, fixed: [], headers: headers, columnNames: [], hashKeys: [], schemaColumns: [])
        self.by = by
        self.tables = tables
        self.otherwise = otherwise
    }

    /// The name of the header that has the value, and the bytes of the longest value; `nil`: it is elsewhere.
    var header: (name: String, longest: Int)? {
        guard source == .header, let name = plan.headers.first else { return nil }
        return (name, tables.map(\.value.utf8.count).max() ?? 0)
    }

    /// What was probably meant by a text that ``init(by:tables:otherwise:)`` does not take.
    public static func meant(by text: String) -> String? {
        let header = text.split(separator: ".", maxSplits: 1).dropFirst().first.map { Self.header + $0 }
        return Nearest.name(to: text, among: ["topic", header].compactMap(\.self)) ?? JSONPointer.meant(by: text)
    }

    /// Whether a text is one that ``init(by:tables:otherwise:)`` takes.
    public static func isSource(_ by: String) -> Bool { Route(by: by, tables: [], otherwise: .skip) != nil }
}
