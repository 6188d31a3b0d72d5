// Compiles what a mapping file says about how updates and deletes are written.

import Records
import Settings

extension MappingReader {
    enum IfNull: String, CaseIterable { case keep }
    enum Merge: String, CaseIterable { case concatenation = "jsonb_concat" }
    enum Deletion: String, CaseIterable { case row }

    /// The keys `on`, `if_null` and `merge` of a column.
    mutating func columnPolicy(
        _ keys: [String: YAMLNode], _ subject: String, isKey: Bool, isNullable: Bool
    ) -> ColumnPolicy {
        for key in MappingKeys.policy.names where isKey && keys[key] != nil {
            fault(keys[key]!, "\(subject) is in the key, which no update changes: remove \(key)")
        }
        let occasion = keys["on"].flatMap { choice($0, "\(subject): on", of: ColumnPolicy.Occasion.self) } ?? .always
        let keeps = keys["if_null"].flatMap { choice($0, "\(subject): if_null", of: IfNull.self) } != nil
        let merges = keys["merge"].flatMap { choice($0, "\(subject): merge", of: Merge.self) } != nil
        if keeps, !isNullable, let node = keys["if_null"] {
            fault(node, "\(subject): if_null has no effect, because null is refused; add nullable: true")
        }
        if occasion == .insert, let node = keys["if_null"] ?? keys["merge"] {
            fault(node, "\(subject): if_null and merge are for updates, which do not set the column (on: insert)")
        }
        return ColumnPolicy(occasion, keepsIfNull: keeps, isMerged: merges)
    }

    /// The key `delete`: `row`, or `{set: {COLUMN: now}}`.
    mutating func deletion(_ node: YAMLNode) -> [(column: String, value: OnUpdateValue)] {
        if node.mapping == nil {
            _ = choice(node, "delete", of: Deletion.self)
            return []
        }
        guard let entries = entries(of: node, in: "delete", known: MappingKeys.deletion.names) else { return [] }
        guard let set = entries["set"], let columns = self.entries(of: set, in: "delete: set"), !columns.isEmpty else {
            fault(node, "delete needs 'row', or the columns that it sets, such as {set: {deleted_at: now}}")
            return []
        }
        return columns.compactMap { entry in
            if !ColumnCompiler.isIdentifier(entry.key) {
                fault(entry.value, "delete: '\(entry.key)' is not a column name of 1 to 63 bytes")
            }
            return choice(entry.value, "delete: set \(entry.key)", of: OnUpdateValue.self).map { (entry.key, $0) }
        }
    }
}
