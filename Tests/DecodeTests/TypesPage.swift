// Writes docs/types.md from its source.

import TestSupport

enum TypesPage {
    static let text = head + TypeExamples.all.map(section).joined(separator: "\n") + "\n" + tail

    private static let head = """
        # Types

        For people who write a mapping: the values that each type takes, and why others become dead letters. Every
        line of the tables is a test, on PostgreSQL 15; `Tests/TestSupport/TypeExamples.swift` is their source.

        A column's `type` says how its values are read, from a field of the event, a header, the Kafka key or a
        constant. Numbers are read from the digits of the document, never through a float. A value that is refused
        makes a dead letter with the reason shown; `/v` stands for the path. Null is taken where the column is
        `nullable`.

        | key | values | for |
        | --- | --- | --- |
        | `type` | one of the types below, or one with `[]` for an array | every column that has no `cast` |
        | `cast` | any type, as SQL names it | values that the server is to cast |
        | `format` | `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, `days`, `string`, `base64`, `hex`, `base64_decimal`, `variable_scale_decimal` | values that are not written in the type's usual form |
        | `scale` | digits after the point | `base64_decimal` |
        | `nul` | `refuse` (default), `strip`, `replace` | `\\u0000` in text, json and jsonb |
        | `hash` | `hmac-sha256` | values of the types that keys may have: the column gets [a digest](mapping.md#hashed-columns) |

        **Keys** may be of the types bool, int2, int4, int8, text, uuid, date, time, timestamp, timestamptz and bytea.
        Values of the others may be equal in SQL and differ in their bytes. The Kafka key has one text for a value:
        times in UTC, UUIDs in lower case with hyphens.

        **The table's own limits** are known from the catalog and checked before anything is sent: the length of
        `varchar(3)` and `char(3)`, the precision of `numeric(5,2)`, an integer or float column that is smaller than
        the mapping's type. A Create, Update or Upsert beyond them is a dead letter with the reason out_of_range. A
        worker notices when the table is changed. `POST /send` and `sluice try` know the mapping only.

        A domain's length or precision is checked likewise. Its CHECK, elements of arrays, intervals, columns with a
        `cast`, and those with `on: insert` or `on: update` are checked by the server. What it refuses becomes a dead
        letter with its SQLSTATE; the other events of the transaction are applied. It does not see an event that
        writes nothing: a Create whose row is there, an Update whose row is not, one older than the row's version.
        Such columns are not coalesced, because a later event must not hide that an earlier one is refused.

        Some types do not call a wrong value one: they report a syntax error (tsvector), an object that does not exist
        (regclass), or, as hstore before PostgreSQL 16, an internal error. A `cast` to one makes a dead letter, too.

        **The whole event** goes into a column of type json or jsonb with `path: ''`. A `cast` may name a type in a
        schema, with a modifier or with `[]`; names with other characters than letters, digits and underscores need
        double quotes. With a `type` beside it, the value is read and sent as that type first.


        """

    private static let tail = """
        ## All types of PostgreSQL 15

        With `type`: bool, int2, int4, int8, float4, float8, numeric, text (also for varchar), uuid, date, time,
        timestamp, timestamptz, interval, json, jsonb, bytea, and arrays of them.

        With `cast`, each tested with a value:

        \(wrapped(OtherTypes.cast.keys.sorted()))

        Refused, because PostgreSQL takes no text for them:

        \(wrapped(OtherTypes.refused))

        """

    private static func section(_ type: TypeExamples) -> String {
        let named = type.mapping.split(separator: ",")[0].filter { $0 != "'" }
        let column = named == "type: \(type.column)" ? "" : " → \(type.column)"
        var text = "## `\(type.mapping)`\(column)\n\n"
        if !type.text.isEmpty { text += wrapped(type.text.split(separator: " ").map(String.init), separator: " ") + "\n\n" }
        text += "| in the event | in the table, or why it is refused |\n| --- | --- |\n"
        for (json, shown) in type.accepted { text += "| \(code(json)) | \(shown.isEmpty ? "the empty string" : code(shown)) |\n" }
        for (json, why) in type.refused { text += "| \(code(json)) | refused: \(escaped(why)) |\n" }
        for (json, why) in type.refusedByColumn { text += "| \(code(json)) | refused: \(escaped(why)) |\n" }
        for (json, state) in type.refusedByServer { text += "| \(code(json)) | refused by the server: \(state) |\n" }
        return text
    }

    private static func escaped(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }

    private static func code(_ text: String) -> String { text.contains("`") ? escaped(text) : "`\(escaped(text))`" }

    private static func wrapped(_ words: [String], separator: String = ", ") -> String {
        var lines = [""]
        for (index, word) in words.enumerated() {
            let piece = word + (index + 1 < words.count ? separator : separator == ", " ? "." : "")
            let last = lines[lines.count - 1]
            if last.utf8.count + piece.utf8.count > 110 {
                lines[lines.count - 1] = last.hasSuffix(" ") ? String(last.dropLast()) : last
                lines.append(piece)
            } else {
                lines[lines.count - 1] = last + piece
            }
        }
        return lines.joined(separator: "\n")
    }
}
