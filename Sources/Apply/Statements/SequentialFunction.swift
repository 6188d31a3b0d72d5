// Owns the function that applies events strictly one after the other inside the server, and the table that it reads them from.

import Postgres
import Records

/// A temporary plpgsql function per connection and table: for each event it looks the row up, then does what the event says, or nothing.
///
/// It defines what the faster strategies must give, and which event is refused. With `isolate`, at an error it rolls back to where this
/// run of events began, repeats the events before the refused one, returns the refusal, and continues after it. So every event is executed
/// at most twice however many are refused. It costs several times what bulk statements do, so ``BisectionMachine`` uses it for small
/// ranges, and for the rest of a transaction with many refusals.
///
/// Events come in a temporary table and not as arguments, of which a function has 100 at most (`FUNC_MAX_ARGS`).
struct SequentialFunction {
    /// The function's qualified name.
    let name: String
    /// The statements that create table and function, or replace them with themselves.
    let definition: String
    /// The statement that fills the table: arrays of numbers, operations, columns and words of presence.
    let fill: String
    /// The statement that calls the function: the first and last number, whether it isolates, and the lists of ``Refusals``.
    let call: PreparedStatement

    /// Columns of the result: a row for each refusal, then one with position −1 and the counts.
    enum Column: Int {
        case position, state, message, created, updated, deleted
    }

    /// The last row has the counts.
    static let rowCount = EncodedStatement.RowCount.lastRow([Column.created, .updated, .deleted].map(\.rawValue))

    /// Columns of the table that the events come in, with their types.
    static func columns(_ shape: TableShape) -> [(name: String, type: String)] {
        [("n", "int4"), ("op", "int2")] + shape.columns.enumerated().map { ("c\($0)", $1.wireType.rawValue) }
            + (0..<Presence(shape).words).map { ("p\($0)", "int8") }
            + (shape.version == nil ? [] : [("k", "bytea"), ("v", "int8")])
    }

    init(_ writer: SequentialWriter) {
        let columns = Self.columns(writer.texts.shape)
        // The hash in the name keeps the functions of different tables, and of another version of a table, apart.
        let hash = String(fnv1a(writer.body(events: "") + columns.map(\.1).joined()), radix: 36)
        let events = "pg_temp.sluice_events_\(hash)"
        name = "pg_temp.sluice_\(hash)"
        // A plan made while the table was small would scan all of it for each event, as long as the session lives.
        definition = """
            CREATE TEMP TABLE IF NOT EXISTS sluice_events_\(hash) (\(columns.map { "\($0) \($1)" }.joined(separator: ", ")),
              PRIMARY KEY (n)) ON COMMIT DELETE ROWS;
            CREATE OR REPLACE FUNCTION \(name)(_s_from int, _s_to int, _s_isolate bool, _s_codes text[], _s_not_codes text[],
              _s_classes text[], _s_waiting text[], _s_constraints text[], OUT _s_at int, OUT _s_state text, OUT _s_message text,
              OUT _s_created int8, OUT _s_updated int8, OUT _s_deleted int8)
            RETURNS SETOF record LANGUAGE plpgsql SET enable_seqscan = off AS $_s_\(hash)$
            \(writer.body(events: events))
            $_s_\(hash)$
            """
        let arrays = columns.enumerated().map { "$\($0 + 1)::\($1.1)[]" }.joined(separator: ", ")
        fill = "INSERT INTO \(events) SELECT * FROM unnest(\(arrays))"
        call = PreparedStatement(
            "SELECT * FROM \(name)($1::int, $2::int, $3::bool, \((4...8).map { "$\($0)::text[]" }.joined(separator: ", ")))")
    }
}

/// Writes the function's body.
struct SequentialWriter {
    let texts: RowTexts
    /// The table has a unique index that `ON CONFLICT` may name, and no rule that forbids it.
    let usesArbiter: Bool
    /// Where an INSERT wrote nothing, another session has inserted the row. Not so where a trigger decides what an INSERT does.
    let insertsAreExact: Bool
    /// Groups of optional columns: an UPDATE must not name those of a group of which the event has none; see
    /// ``TableSchema/optionalUpdateTriggers(_:)``.
    let updateGroups: [[Int]]
    /// Of several events of a key that follow each other only the first one looks its row up: the others find it where the last one has
    /// written it (`ctid`). A key with very many events leaves as many versions of its row, over which an index scan goes again each time.
    var remembersRow = false

    /// What a statement that writes a row adds to remember it.
    private var remembering: String { remembersRow ? " RETURNING t.ctid INTO _s_tid" : "" }

    private var insertion: String {
        let (columns, values) = texts.insertion(of: "_s_e", isComplete: false, setsOnUpdate: false)
        let arbiter =
            usesArbiter && texts.shape.mode != .append
            ? " \(texts.conflict(setsOnUpdate: false))" : ""
        return """
            INSERT INTO \(texts.relation) AS t \(columns) VALUES (\(values.joined(separator: ", ")))\(arbiter)\(remembering);
            GET DIAGNOSTICS _s_n = ROW_COUNT; _s_new := _s_new + _s_n;
            """
    }

    /// The UPDATE of one event: one statement for each combination of groups that the event has.
    /// - Parameter place: a condition that the row is where it was written last.
    private func update(_ groups: ArraySlice<[Int]>, without absent: Set<Int> = [], at place: String = "") -> String {
        guard let group = groups.first else {
            let isChanged = texts.isChanged(by: "_s_e", without: absent).map { " AND \($0)" } ?? ""
            return """
                UPDATE \(texts.relation) AS t SET \(texts.assignments(of: "_s_e", without: absent))
                WHERE \(place)\(texts.isUpdated(by: "_s_e"))\(isChanged)\(remembering);
                GET DIAGNOSTICS _s_n = ROW_COUNT;
                """
        }
        let hasOne = group.compactMap { texts.presence.condition($0, of: "_s_e") }.joined(separator: " OR ")
        let rest = groups.dropFirst()
        return """
            IF \(hasOne) THEN
                \(update(rest, without: absent, at: place))
            ELSE
                \(update(rest, without: absent.union(group), at: place))
            END IF;
            """
    }

    /// Updates the row where the last event has written it. It is not there any more where a trigger has written it once more; then it is
    /// looked up as any other.
    private var remembered: String {
        if !remembersRow { return "" }
        let isSame = texts.shape.key.map { "_s_e.c\($0) IS NOT DISTINCT FROM _s_k\($0)" }.joined(separator: " AND ")
        let keys = texts.shape.key.map { "_s_k\($0) := _s_e.c\($0);" }.joined(separator: " ")
        return """
            IF _s_tid IS NOT NULL AND _s_e.op IN (1, 2) AND \(isSame) THEN
                \(update(updateGroups[...], at: "t.ctid = _s_tid AND "))
                _s_changed := _s_changed + _s_n;
                CONTINUE WHEN _s_n > 0;
            END IF;
            _s_tid := NULL; \(keys)
            """
    }

    private func event() -> String {
        // Mode append knows no Delete.
        if texts.shape.mode == .append { return "IF _s_e.op <> 3 THEN \(insertion) END IF;" }
        if let version = texts.version { return event(version) }
        let lookUp = "PERFORM FROM \(texts.relation) AS t WHERE \(texts.isPresent("_s_e"));"
        // Where another session writes the same key, the row may appear or vanish between look-up and write: the look-up is repeated.
        return """
                \(remembered)
                \(lookUp)
                _s_present := FOUND;
                IF NOT _s_present AND _s_e.op IN (0, 2) THEN
                    \(insertion)
                    IF _s_n = 0 AND _s_e.op = 2 AND \(insertsAreExact) THEN
                        \(lookUp)
                        _s_present := FOUND;
                    END IF;
                END IF;
                IF _s_present AND _s_e.op IN (1, 2) THEN
                    \(update(updateGroups[...]))
                    _s_changed := _s_changed + _s_n;
                    IF _s_n = 0 AND _s_e.op = 2 THEN
                        \(lookUp)
                        IF NOT FOUND THEN
                            \(insertion)
                        END IF;
                    END IF;
                ELSIF _s_present AND _s_e.op = 3 THEN
                    \(texts.removal(of: "_s_e")) WHERE \(texts.isPresent("_s_e"));
                    GET DIAGNOSTICS _s_n = ROW_COUNT;
                    _s_gone := _s_gone + _s_n;
                END IF;
            """
    }

    /// An event of a table with a version. What other sessions change between look-up and write, the transaction's check finds
    /// (``VersionGuard``).
    private func event(_ version: VersionTexts) -> String {
        """
            IF _s_e.op = 3 THEN
                PERFORM FROM \(texts.relation) AS t WHERE \(texts.isDeleted(by: "_s_e"));
                IF FOUND THEN
                    \(texts.removal(of: "_s_e")) WHERE \(texts.isDeleted(by: "_s_e"));
                    GET DIAGNOSTICS _s_n = ROW_COUNT;
                    _s_gone := _s_gone + _s_n;
                END IF;
                \(version.tombstones("VALUES", of: "_s_e"));
            ELSE
                PERFORM FROM \(texts.relation) AS t WHERE \(texts.isUpdated(by: "_s_e"));
                IF FOUND THEN
                    \(update(updateGroups[...]))
                    _s_changed := _s_changed + _s_n;
                ELSE
                    PERFORM WHERE \(texts.isAbsent("_s_e")) AND \(version.outlivesTombstone("_s_e"));
                    IF FOUND THEN
                        \(insertion)
                    END IF;
                END IF;
            END IF;
        """
    }

    /// Where the last event has written its row, and its key.
    private var memory: String {
        if !remembersRow { return "" }
        let keys = texts.shape.key.map { " _s_k\($0) \(texts.shape.columns[$0].wireType.rawValue);" }
        return " _s_tid tid;" + keys.joined()
    }

    /// - Parameter events: the qualified name of the table that holds the events.
    func body(events: String) -> String {
        """
        #variable_conflict use_column
        DECLARE
            _s_e record; _s_i int; _s_first int := _s_from; _s_upto int := _s_to; _s_refused int;
            _s_present bool; _s_n int8; _s_why text; _s_what text; _s_constraint text; _s_table text;
            _s_new int8 := 0; _s_changed int8 := 0; _s_gone int8 := 0;
            _s_new0 int8 := 0; _s_changed0 int8 := 0; _s_gone0 int8 := 0;\(memory)
        BEGIN
            WHILE _s_first <= _s_to LOOP
                BEGIN
                    FOR _s_e IN SELECT * FROM \(events) AS e WHERE e.n BETWEEN _s_first AND _s_upto ORDER BY e.n LOOP
                        _s_i := _s_e.n;
        \(event())
                    END LOOP;
                EXCEPTION WHEN OTHERS THEN
                    GET STACKED DIAGNOSTICS _s_constraint = CONSTRAINT_NAME, _s_table = TABLE_NAME;
                    IF NOT _s_isolate OR NOT (SQLSTATE = ANY (_s_codes)
                        OR (left(SQLSTATE, 2) = ANY (_s_classes) AND SQLSTATE <> ALL (_s_not_codes)))
                        -- The record may wait for another row.
                        OR (_s_constraint <> ALL (_s_constraints) AND (SQLSTATE = ANY (_s_waiting)
                            OR (left(SQLSTATE, 2) = ANY (_s_waiting) AND SQLSTATE <> ALL (_s_codes || _s_not_codes))))
                        -- No partition for the row; see OutcomeTable.outcome(of:).
                        OR (SQLSTATE = '23514' AND _s_constraint = '' AND _s_table <> '' AND SQLSTATE <> ALL (_s_codes)) THEN
                        RAISE;
                    END IF;
                    -- Everything since _s_first is undone. The events before this one are repeated, then the refusal is returned.
                    \(remembersRow ? "_s_tid := NULL; " : "")_s_refused := _s_i; _s_why := SQLSTATE; _s_what := SQLERRM; _s_upto := _s_i - 1;
                    _s_new := _s_new0; _s_changed := _s_changed0; _s_gone := _s_gone0;
                    CONTINUE;
                END;
                _s_new0 := _s_new; _s_changed0 := _s_changed; _s_gone0 := _s_gone;
                EXIT WHEN _s_refused IS NULL;
                _s_at := _s_refused; _s_state := _s_why; _s_message := _s_what;
                RETURN NEXT;
                _s_first := _s_refused + 1; _s_upto := _s_to; _s_refused := NULL;
            END LOOP;
            _s_at := -1; _s_state := NULL; _s_message := NULL;
            _s_created := _s_new; _s_updated := _s_changed; _s_deleted := _s_gone;
            RETURN NEXT;
        END
        """
    }
}
