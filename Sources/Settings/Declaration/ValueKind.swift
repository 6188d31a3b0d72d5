// Owns the kinds of values: how a value is read from text, shown, bounded and documented.

import Platform

/// The text or tree that a source holds for a key.
public enum RawValue: Sendable {
    /// From the environment, or a file the environment names.
    case text(String)
    /// From a YAML document.
    case node(YAMLNode)
}

/// Who may see a value.
public enum Secrecy: Sendable {
    /// Everybody.
    case open
    /// Nobody: messages and the effective configuration show `***`.
    case secret
    /// Everybody, except for the passwords in it: a URI or keyword string of libpq.
    case connectionString

    /// `text` as it may be shown.
    func covered(_ text: String) -> String {
        switch self {
        case .open: text
        case .secret: text.isEmpty ? "" : Redaction.cover
        case .connectionString: Redaction.connectionString(text)
        }
    }
}

extension Secrecy? {
    /// `text` as it may be shown; without a secrecy unchanged.
    func covered(_ text: String) -> String { map { $0.covered(text) } ?? text }
}

/// A kind of value: integer, duration, list of texts and so on. Kinds are made from the static members of this type, one set for
/// each Swift type, and combined: `.list(of: .path)`, `.int(in: 1...64).checked("must be a power of two") { … }`.
public struct ValueKind<Value: Sendable>: Sendable {
    /// The type as the documentation names it.
    let typeName: String
    /// The allowed values as the documentation names them; empty: all.
    let bounds: String
    /// What an editor is told of values in a file.
    let schema: JSONSchema
    /// Reads a value; `nil` after it has reported why it cannot.
    let parse: @Sendable (RawValue, inout ValueReading) -> Value?
    /// The value as YAML; without a secrecy as YAML that reads back as the same value, secrets in clear text.
    let show: @Sendable (Value, Secrecy?) -> String
    /// A default, with relative paths resolved against `directory`.
    let settle: @Sendable (Value, _ directory: String) -> Value

    init(
        typeName: String, bounds: String = "", schema: JSONSchema = .text,
        parse: @escaping @Sendable (RawValue, inout ValueReading) -> Value?,
        show: @escaping @Sendable (Value, Secrecy?) -> String,
        settle: @escaping @Sendable (Value, String) -> Value = { value, _ in value }
    ) {
        self.typeName = typeName
        self.bounds = bounds
        self.schema = schema
        self.parse = parse
        self.show = show
        self.settle = settle
    }

    /// The same kind with one more condition.
    /// - Parameter sentence: the requirement, beginning with "must", without a full stop; the value is added.
    public func checked(_ sentence: String, _ holds: @escaping @Sendable (Value) -> Bool) -> ValueKind {
        let opening = ["must be ", "must "].first(where: sentence.hasPrefix) ?? ""
        let allowed = String(sentence.dropFirst(opening.count))
        let (parse, show) = (parse, show)
        return ValueKind(
            typeName: typeName, bounds: bounds.isEmpty ? allowed : "\(bounds); \(allowed)", schema: schema,
            parse: { raw, reading in
                guard let value = parse(raw, &reading) else { return nil }
                guard holds(value) else {
                    reading.report("\(sentence), is \(show(value, reading.secrecy))", at: raw)
                    return nil
                }
                return value
            }, show: show, settle: settle)
    }
}

/// One value being read: its source, its secrecy, and its faults.
struct ValueReading {
    /// The key with its sections.
    let key: String
    /// The source of the value; a node has a more precise one.
    let origin: Origin
    let secrecy: Secrecy
    /// The directory of relative paths; empty: the working directory.
    let directory: String
    private(set) var faults: [Fault] = []

    mutating func report(_ message: String, at raw: RawValue) {
        let place = if case .node(let node) = raw { node.origin } else { origin }
        faults.append(Fault(place, key: key, message))
    }

    /// The text, if the value is a single one. A secret ends in no line break.
    mutating func text(_ raw: RawValue, mustBe wanted: String) -> String? {
        let node: YAMLNode
        switch raw {
        case .text(let text): return text
        case .node(let tree): node = tree
        }
        guard let scalar = node.scalar else {
            report("must be \(wanted), is \(node.kindName)", at: raw)
            return nil
        }
        guard !scalar.isNull else {
            report("must be \(wanted), is nothing; write a value or remove the key", at: raw)
            return nil
        }
        return secrecy == .open ? scalar.text : scalar.text.withoutTrailingLineBreaks
    }

    /// Reads a text with `convert`, which returns `nil` for a text that is not such a value.
    mutating func convert<Value>(_ raw: RawValue, mustBe wanted: String, _ convert: (String) -> Value?) -> Value? {
        guard let text = text(raw, mustBe: wanted) else { return nil }
        if let value = convert(text) { return value }
        report("must be \(wanted), is \(shown(text))", at: raw)
        return nil
    }

    /// The text as a message may show it.
    func shown(_ text: String) -> String {
        let covered = secrecy.covered(text)
        let isWord = !covered.isEmpty && covered.utf8.count <= 40 && covered.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isWord && !covered.contains(where: "\"';,".contains) ? covered : Shown.quoted(covered)
    }
}
