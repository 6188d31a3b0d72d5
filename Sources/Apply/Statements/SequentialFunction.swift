// Owns the function that applies events strictly one after the other inside the server: one statement for a whole transaction.

import Postgres
import Records

/// A temporary plpgsql function per connection and table that does what "one at a time" says, word for word: look the row up,
/// then do what the event says, or nothing.
///
/// It is the definition the faster strategies are measured by, and the judge of what was refused in bulk. With `isolate` the error
/// tells which event was refused: the function rolls back to where this run of events began, repeats the events before the refused
/// one, notes the refusal and goes on behind it. So every event is executed at most twice however many are refused, in a single
/// statement. Event by event it costs several times what bulk statements do, so ``BisectionMachine`` gives it only what is suspect,
/// and everything that is left where too much is refused.
struct SequentialFunction {
    /// The function's qualified name.
    let name: String
    /// Creates the function, or replaces it by itself.
    let definition: String
    /// Calls it; its parameters are what ``StatementBuilder`` gives for events in order.
    let call: PreparedStatement

    /// Columns of the answer. A row for each refusal, then one with position 0 and the counts.
    enum Column: Int {
        case position, state, message, created, updated, deleted
    }

    init(_ writer: SequentialWriter) {
        let shape = writer.shape
        let body = writer.body()
        let parameters = [
            "_s_ops int2[]", "_s_partial int2[]", "_s_inserts text[]", "_s_updates text[]", "_s_isolate bool",
            "_s_codes text[]", "_s_not_codes text[]", "_s_classes text[]",
        ]
        let arrays = shape.columns.enumerated().map { "_s_c\($0) \($1.type.arrayName)" }
        // The name carries the text's hash: two texts never meet under one name, and the same text may replace itself.
        name = "pg_temp.sluice_\(String(fnv1a(body), radix: 36))"
        // A plan that was made while the table was small would read it as a whole, once an event, for as long as the session
        // lives.
        definition = """
            CREATE OR REPLACE FUNCTION \(name)(\((parameters + arrays).joined(separator: ", ")),
              OUT _s_at int, OUT _s_state text, OUT _s_message text,
              OUT _s_created int8, OUT _s_updated int8, OUT _s_deleted int8)
            RETURNS SETOF record LANGUAGE plpgsql SET enable_seqscan = off AS $_sluice_$
            \(body)
            $_sluice_$
            """
        let casts =
            ["int2[]", "int2[]", "text[]", "text[]", "bool", "text[]", "text[]", "text[]"] + shape.columns.map(\.type.arrayName)
        let arguments = casts.enumerated().map { "$\($0 + 1)::\($1)" }.joined(separator: ", ")
        call = PreparedStatement("SELECT * FROM \(name)(\(arguments))")
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): a name for a text, no protection.
func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

/// Writes the function's body and the single-row statements in it.
struct SequentialWriter {
    let shape: TableShape
    let relation: String
    /// The table has a unique index that `ON CONFLICT` may name, and no rule that forbids it.
    let usesArbiter: Bool

    private func name(_ column: Int) -> String { quoteIdentifier(shape.columns[column].name) }
    private var match: String { shape.key.map { "t.\(name($0)) = _s_v\($0)" }.joined(separator: " AND ") }
    private var arbiter: String {
        guard usesArbiter, shape.mode == .upsert else { return "" }
        return " ON CONFLICT (\(shape.key.map { name($0) }.joined(separator: ", "))) DO NOTHING"
    }
    /// The columns of all events, where none is absent.
    private var all: [Int] { Array(shape.columns.indices) }

    private func insert(_ columns: [Int], _ value: (Int) -> String) -> String {
        "INSERT INTO \(relation) AS t (\(columns.map { name($0) }.joined(separator: ", "))) "
            + "VALUES (\(columns.map(value).joined(separator: ", ")))\(arbiter)"
    }

    private func update(_ columns: [Int], _ value: (Int) -> String) -> String {
        var sets = columns.filter { !shape.key.contains($0) }.map { "\(name($0)) = \(value($0))" }
        sets += shape.onUpdate.map { "\(quoteIdentifier($0.column)) = \(StatementTexts.expression($0.value))" }
        if sets.isEmpty, let key = shape.key.first { sets = ["\(name(key)) = t.\(name(key))"] }
        let keys = shape.key.map { "t.\(name($0)) = \(value($0))" }.joined(separator: " AND ")
        return "UPDATE \(relation) AS t SET \(sets.joined(separator: ", ")) WHERE \(keys)"
    }

    /// Statements for events without a value for some columns; their parameters are all columns in order.
    func partial(absent: UInt64) -> (insert: String, update: String) {
        let columns = all.filter { absent & (1 << UInt64($0)) == 0 }
        func value(_ column: Int) -> String { "$\(column + 1)" }
        return (insert(columns, value), shape.mode == .append ? "" : update(columns, value))
    }

    /// Executes one of two statements: the full one as part of the function, or a partial one as text.
    private func run(_ full: String, orText texts: String) -> String {
        guard shape.columns.contains(where: \.isOptional) else {
            return "\(full); GET DIAGNOSTICS _s_n = ROW_COUNT;"
        }
        let values = all.map { "_s_v\($0)" }.joined(separator: ", ")
        return """
            IF _s_partial[_s_i] = 0 THEN \(full);
                    ELSE EXECUTE \(texts)[_s_partial[_s_i]] USING \(values); END IF;
                    GET DIAGNOSTICS _s_n = ROW_COUNT;
            """
    }

    private func event() -> String {
        func value(_ column: Int) -> String { "_s_v\(column)" }
        let insertion = run(insert(all, value), orText: "_s_inserts")
        if shape.mode == .append {
            // There is nothing a Delete could find.
            return """
                    IF _s_ops[_s_i] <> 3 THEN
                    \(insertion)
                    _s_new := _s_new + _s_n;
                    END IF;
                """
        }
        // A row may come or go between look-up and write where another session writes the same key; one more look settles it.
        return """
                _s_op := _s_ops[_s_i];
                PERFORM FROM \(relation) AS t WHERE \(match);
                _s_present := FOUND;
                IF NOT _s_present AND _s_op IN (0, 2) THEN
                    \(insertion)
                    _s_new := _s_new + _s_n;
                    IF _s_n = 0 AND _s_op = 2 THEN
                        PERFORM FROM \(relation) AS t WHERE \(match);
                        _s_present := FOUND;
                    END IF;
                END IF;
                IF _s_present AND _s_op IN (1, 2) THEN
                    \(run(update(all, value), orText: "_s_updates"))
                    _s_changed := _s_changed + _s_n;
                    IF _s_n = 0 AND _s_op = 2 THEN
                        PERFORM FROM \(relation) AS t WHERE \(match);
                        IF NOT FOUND THEN
                            \(insertion)
                            _s_new := _s_new + _s_n;
                        END IF;
                    END IF;
                ELSIF _s_present AND _s_op = 3 THEN
                    DELETE FROM \(relation) AS t WHERE \(match);
                    GET DIAGNOSTICS _s_n = ROW_COUNT;
                    _s_gone := _s_gone + _s_n;
                END IF;
            """
    }

    func body() -> String {
        """
        #variable_conflict use_column
        DECLARE
            _s_i int := 1; _s_first int := 1; _s_last int := cardinality(_s_ops); _s_upto int := _s_last; _s_refused int;
            _s_op int2; _s_present bool; _s_n int8; _s_why text; _s_what text;
            _s_new int8 := 0; _s_changed int8 := 0; _s_gone int8 := 0;
            _s_new0 int8 := 0; _s_changed0 int8 := 0; _s_gone0 int8 := 0;
            \(all.map { "_s_v\($0) \(shape.columns[$0].type.rawValue);" }.joined(separator: " "))
        BEGIN
            WHILE _s_first <= _s_last LOOP
                BEGIN
                    WHILE _s_i <= _s_upto LOOP
                        \(all.map { "_s_v\($0) := _s_c\($0)[_s_i];" }.joined(separator: " "))
        \(event())
                        _s_i := _s_i + 1;
                    END LOOP;
                EXCEPTION WHEN OTHERS THEN
                    IF NOT _s_isolate OR NOT (SQLSTATE = ANY (_s_codes)
                        OR (left(SQLSTATE, 2) = ANY (_s_classes) AND SQLSTATE <> ALL (_s_not_codes))) THEN
                        RAISE;
                    END IF;
                    -- Everything since _s_first is undone. The events before this one are repeated, then it is noted.
                    _s_refused := _s_i; _s_why := SQLSTATE; _s_what := SQLERRM;
                    _s_upto := _s_i - 1; _s_i := _s_first;
                    _s_new := _s_new0; _s_changed := _s_changed0; _s_gone := _s_gone0;
                    CONTINUE;
                END;
                _s_new0 := _s_new; _s_changed0 := _s_changed; _s_gone0 := _s_gone;
                EXIT WHEN _s_refused IS NULL;
                _s_at := _s_refused; _s_state := _s_why; _s_message := _s_what;
                RETURN NEXT;
                _s_first := _s_refused + 1; _s_i := _s_first; _s_upto := _s_last; _s_refused := NULL;
            END LOOP;
            _s_at := 0; _s_state := NULL; _s_message := NULL;
            _s_created := _s_new; _s_updated := _s_changed; _s_deleted := _s_gone;
            RETURN NEXT;
        END
        """
    }
}
