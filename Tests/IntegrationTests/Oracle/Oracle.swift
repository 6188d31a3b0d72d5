// Owns the expected tables: every record of the log, applied one at a time.

import Foundation

/// Partition and offset of a record.
struct Coordinate: Hashable, Comparable, CustomStringConvertible {
    let partition: Int32
    let offset: Int64

    static func < (a: Coordinate, b: Coordinate) -> Bool { (a.partition, a.offset) < (b.partition, b.offset) }
    var description: String { "\(partition)@\(offset)" }
}

/// The texts of a row.
struct Texts: Equatable {
    let name: String
    let message: String
}

/// One captured change.
struct Change: Equatable {
    let operation: String
    let before: Texts?
    let after: Texts?
}

/// The tables after every record was applied, one at a time. It shares no code with Sluice: it parses JSON with Foundation.
struct Oracle {
    /// The rows of `messages`.
    private(set) var rows: [Int32: Texts] = [:]
    /// The captured changes of each key, in order.
    private(set) var changes: [Int32: [Change]] = [:]
    /// The records that must be dead letters.
    private(set) var deadLetters: Set<Coordinate> = []
    /// Records applied.
    private(set) var records = 0
    /// Whether the table refuses a row, such as by a CHECK.
    let refuses: @Sendable (Texts) -> Bool

    /// An empty table.
    init(refuses: @escaping @Sendable (Texts) -> Bool = { _ in false }) { self.refuses = refuses }

    private enum Event {
        case create(Int32, Texts)
        case update(Int32, Texts)
        case upsert(Int32, Texts)
        case delete(Int32)
    }

    /// Applies the next record of a partition.
    mutating func apply(key: Data?, value: Data?, at coordinate: Coordinate) {
        records += 1
        guard let event = Self.event(key: key, value: value), write(event) else {
            deadLetters.insert(coordinate)
            return
        }
    }

    /// False where the table refuses the event. An event without effect is never refused.
    private mutating func write(_ event: Event) -> Bool {
        switch event {
        case .create(let id, let texts):
            return rows[id] != nil || put(id, texts)
        case .update(let id, let texts):
            return rows[id] == nil || put(id, texts)
        case .upsert(let id, let texts):
            return put(id, texts)
        case .delete(let id):
            if let before = rows.removeValue(forKey: id) {
                changes[id, default: []].append(Change(operation: "DELETE", before: before, after: nil))
            }
            return true
        }
    }

    private mutating func put(_ id: Int32, _ texts: Texts) -> Bool {
        if refuses(texts) { return false }
        let before = rows.updateValue(texts, forKey: id)
        changes[id, default: []].append(
            Change(operation: before == nil ? "INSERT" : "UPDATE", before: before, after: texts))
        return true
    }

    /// The event of a record; `nil` where it is not an event.
    private static func event(key: Data?, value: Data?) -> Event? {
        guard let value else {
            return key.flatMap { Int32(String(decoding: $0, as: UTF8.self)) }.map { .delete($0) }
        }
        guard let object = try? JSONSerialization.jsonObject(with: value) as? [String: Any],
            let action = object["action"] as? String, let number = object["message_id"] as? NSNumber,
            let id = Int32(exactly: number.doubleValue)
        else { return nil }
        if action == "Delete" { return .delete(id) }
        guard let data = object["data"] as? [String: Any], let name = data["name"] as? String,
            let message = data["message"] as? String, !name.contains("\0"), !message.contains("\0")
        else { return nil }
        let texts = Texts(name: name, message: message)
        switch action {
        case "Create": return .create(id, texts)
        case "Update": return .update(id, texts)
        case "Upsert": return .upsert(id, texts)
        default: return nil
        }
    }
}
