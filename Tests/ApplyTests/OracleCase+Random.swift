// The oracle test over mappings that are made at random: envelopes, keys, types, policies, versions, modes, constraints and triggers.

import Records
import TestSupport

@testable import Apply

extension OracleCase {
    /// A column under test: its shape, its type in the table, and its values.
    private struct RandomColumn {
        var shape: ColumnShape
        var sql: String
        var values: @Sendable (inout SeededRandom) -> TestValue
        var hasLimit = false
    }

    /// A table and a mapping that fit each other.
    /// - Parameter number: the table's, whose name no other has: sessions keep statements by their texts.
    static func random(_ number: Int, _ random: inout SeededRandom) throws -> OracleCase {
        let (name, seen) = ("t\(number)", "seen\(number)")
        let mode: WriteMode = random.chance(0.1) ? .insertOnly : random.chance(0.1) ? .append : .upsert
        let hasVersion = mode == .upsert && random.chance(0.4)
        let hasPolicies = mode == .upsert && random.chance(0.5)
        let keysAreTexts = (0..<Int.random(in: 1...3, using: &random)).map { _ in random.chance(0.4) }
        // Keys that differ in case are equal then. Tombstones do not know that.
        let ignoresCase = !hasVersion && random.chance(0.15)
        let key = keysAreTexts.enumerated().map { index, isText in
            RandomColumn(
                shape: ColumnShape(name: "k\(index)", type: isText ? .text : .int4),
                sql: isText ? "text\(ignoresCase ? " COLLATE loose" : "")" : "int", values: { _ in .absent })
        }
        var columns = (0..<Int.random(in: 1...5, using: &random)).map { column($0, hasPolicies: hasPolicies, &random) }
        if hasVersion {
            columns.append(
                RandomColumn(
                    shape: ColumnShape(name: "at", type: .int4), sql: "int", values: { .int(Int32($0.next() % 10)) }))
        }
        // The version may stand anywhere, and so may the key.
        let all = (key + columns).shuffled(using: &random)
        func position(_ name: String) -> Int { all.firstIndex { $0.shape.name == name }! }
        let keyPositions = key.map { position($0.shape.name) }
        let marksDeletes = hasPolicies && random.chance(0.5)
        let isSeen = mode != .append && random.chance(0.4)
        let isUnique = columns.contains { $0.shape.name == "c0" } && mode == .upsert && random.chance(0.2)
        // Changes rows before they are written, skips some, and reads others: not what a mapping may call row_local.
        let isChanged = mode != .append && !isUnique && random.chance(0.2)
        let isPartitioned = mode != .append && !isUnique && random.chance(0.25)
        // With a unique index besides the key, or keys that are equal without being the same, rounds are the user's own risk.
        let choices: [WriteChoice.Strategy] = [
            .auto, .auto, .auto, isUnique || ignoresCase || isChanged ? .auto : .rounds, .sequential,
        ]
        let shape = TableShape(
            name: name, columns: all.map(\.shape), key: mode == .append ? [] : keyPositions, mode: mode,
            onUpdate: mode == .upsert && random.chance(0.5) ? [("day", .currentDate)] : [],
            write: WriteChoice(choices[Int(random.next() % 5)], triggers: isChanged ? .unknown : .rowLocal),
            deletion: marksDeletes ? [("gone", .currentDate)] : [],
            skipsUnchanged: hasPolicies && !hasVersion && random.chance(0.5),
            version: hasVersion ? RowVersion(column: position("at"), keepsFirst: random.chance(0.5)) : nil)
        let day = random.chance(0.5) ? "CURRENT_DATE" : "'1999-09-09'"
        let keyNames = key.map(\.shape.name)
        let constraints =
            (mode == .append ? "" : ", PRIMARY KEY (\(keyNames.shuffled(using: &random).joined(separator: ", ")))")
            + (isUnique ? ", UNIQUE (c0)" : "")
        let table =
            "CREATE TABLE \(name) (\(all.map { "\($0.shape.name) \($0.sql)" }.joined(separator: ", ")), other int DEFAULT 5, "
            + "day date DEFAULT \(day), gone date"
            + "\(random.chance(0.2) ? ", twice int GENERATED ALWAYS AS (other * 2) STORED" : "")\(constraints))"
            + (isPartitioned ? " PARTITION BY HASH (\(keyNames[0]));" : ";")
            + (isPartitioned
                ? [0, 1].map { "CREATE TABLE \(name)_\($0) PARTITION OF \(name) FOR VALUES WITH (MODULUS 2, REMAINDER \($0));" }
                    .joined() : "")
        let changing = """
            CREATE FUNCTION change_\(name)() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              NEW.other := coalesce(NEW.other, 0) + (SELECT count(*) FROM \(name));
              RETURN CASE WHEN NEW.other % 7 = 6 THEN NULL ELSE NEW END;
            END $$;
            CREATE TRIGGER change BEFORE INSERT OR UPDATE ON \(name) FOR EACH ROW EXECUTE FUNCTION change_\(name)();
            """
        let keyText = keyNames.map { "(r->>'\($0)')" }.joined(separator: " || '/' || ")
        let seeing = """
            CREATE TABLE \(seen) (n bigserial, k text, what text);
            CREATE FUNCTION see_\(seen)() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE r jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
            BEGIN
              INSERT INTO \(seen)(k, what) VALUES (\(keyText), TG_OP || coalesce(OLD::text, '') || coalesce(NEW::text, ''));
              RETURN NULL;
            END $$;
            CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON \(name) FOR EACH ROW EXECUTE FUNCTION see_\(seen)();
            """
        let values = all.map(\.values)
        let document = try OracleDocument(shape, &random)
        return OracleCase(
            name: "random",
            ddl: {
                (ignoresCase
                    ? "CREATE COLLATION IF NOT EXISTS loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
                    : "") + table + (isChanged ? changing : "") + (isSeen ? seeing : "")
            }, shape: document.shape, strategy: .sequential,
            queries: ["SELECT t::text FROM \(name) AS t ORDER BY t::text COLLATE \"C\""]
                + (isSeen ? ["SELECT k || ' ' || what FROM \(seen) ORDER BY k COLLATE \"C\", n"] : []),
            reset: "DELETE FROM \(name); " + (isSeen ? "DELETE FROM \(seen);" : ""),
            values: { number, random in
                var row = values.map { $0(&random) }
                for (index, column) in document.shape.columns.enumerated() where column.isOptional && random.chance(0.2) {
                    row[index] = .absent
                }
                // Keys of which some columns are equal.
                for (index, position) in keyPositions.enumerated() {
                    let part = index == keyPositions.count - 1 ? number >> index : (number >> index) & 1
                    let prefix = ignoresCase && random.chance(0.5) ? "PREFIX-É" : "prefix-é"
                    row[position] = keysAreTexts[index] ? .text("\(prefix)\(part)") : .int(Int32(part))
                }
                return row
            }, longestBatch: 8, hasLimits: all.contains(where: \.hasLimit), document: document)
    }

    /// What may be said about a column of a mapping, as far as it goes together.
    private static func column(_ index: Int, hasPolicies: Bool, _ random: inout SeededRandom) -> RandomColumn {
        let (isOptional, isNullable) = (random.chance(0.4), random.chance(0.4))
        var policy = ColumnPolicy()
        if hasPolicies, random.chance(0.5) {
            policy.occasion = random.chance(0.5) ? .insert : .update
            if policy.occasion == .insert, random.chance(0.5) { policy.occasion = .always }
            policy.keepsIfNull = isNullable && policy.occasion != .insert && random.chance(0.5)
        }
        // The first one may have a unique index.
        let kind = index == 0 ? 0 : Int(random.next() % 4)
        let needsValue = !isNullable && random.chance(0.3)
        // A column that is set by updates only has a default where rows need it.
        let hasDefault = random.chance(0.5) || (needsValue && policy.occasion == .update)
        let isShort = kind == 1 && random.chance(0.3)
        let (type, sql, standard): (ColumnType, String, String) =
            [
                (.int4, "int", "7"), (.text, isShort ? "varchar(2)" : "text", "'d'"), (.bool, "bool", "true"),
                // It rounds.
                (.numeric, "numeric(3,1)", "(length(current_user) * 0 + 1.25)"),
            ][kind]
        return RandomColumn(
            shape: ColumnShape(name: "c\(index)", type: type, isOptional: isOptional, isNullable: isNullable, policy: policy),
            sql: sql + (needsValue ? " NOT NULL" : "") + (hasDefault ? " DEFAULT \(standard)" : ""),
            values: { random in
                if isOptional, random.chance(0.4) { return .absent }
                if isNullable, random.chance(0.3) { return .null }
                switch kind {
                case 0: return .int(Int32(random.next() % 12))
                case 1: return .text(isShort && random.chance(0.2) ? "long" : "v\(random.next() % 4)")
                case 3:
                    // From 0.04 to 110.04: beyond 99.94 it is too large.
                    let whole = random.chance(0.1) ? 98 + random.next() % 3 : random.next() % 4
                    return .value(literal: "\(whole).\(random.next() % 2 * 9)\(random.next() % 2 * 4)", bytes: [])
                default:
                    let value = random.chance(0.5)
                    return .value(literal: "\(value)", bytes: [value ? 1 : 0])
                }
            }, hasLimit: isShort || kind == 3)
    }
}
