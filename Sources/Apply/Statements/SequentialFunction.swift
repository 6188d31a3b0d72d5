// Owns the function that applies events strictly one after the other inside the server.

import Postgres
import Records

/// A temporary plpgsql function per connection and table: for each event it looks the row up, then does what the event says, or nothing.
///
/// It defines what the faster strategies must give, and which event is refused. With `isolate`, at an error it rolls back to where this
/// run of events began, repeats the events before the refused one, returns the refusal, and continues after it. So every event is executed
/// at most twice however many are refused. It costs several times what bulk statements do, so ``BisectionMachine`` uses it for small
/// ranges, and for the rest of a transaction with many refusals.
struct SequentialFunction {
    /// The function's qualified name.
    let name: String
    /// The statement that creates the function, or replaces it with itself.
    let definition: String
    /// The statement that calls it, with the parameters of ``StatementBuilder/sequential(_:isolating:)``.
    let call: PreparedStatement

    /// Columns of the result: a row for each refusal, then one with position 0 and the counts.
    enum Column: Int {
        case position, state, message, created, updated, deleted
    }

    /// The last row has the counts.
    static let rowCount = EncodedStatement.RowCount.lastRow([Column.created, .updated, .deleted].map(\.rawValue))

    init(_ writer: SequentialWriter) {
        let shape = writer.shape
        let body = writer.body()
        let parameters = [
            "_s_ops int2[]", "_s_partial int2[]", "_s_inserts text[]", "_s_updates text[]", "_s_isolate bool",
            "_s_codes text[]", "_s_not_codes text[]", "_s_classes text[]",
        ]
        let arrays = shape.columns.enumerated().map { "_s_c\($0) \($1.type.arrayName)" }
        // The hash in the name keeps the functions of different tables, and of another version of a table, apart.
        name = "pg_temp.sluice_\(String(fnv1a(body), radix: 36))"
        // A plan made while the table was small would scan all of it for each event, as long as the session lives.
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

/// Writes the function's body and its single-row statements.
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

    /// Statements for events that lack some columns; their parameters are all columns in order.
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
            // Mode append knows no Delete.
            return """
                    IF _s_ops[_s_i] <> 3 THEN
                    \(insertion)
                    _s_new := _s_new + _s_n;
                    END IF;
                """
        }
        // Where another session writes the same key, the row may appear or vanish between look-up and write: the look-up is repeated.
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
                    -- Everything since _s_first is undone. The events before this one are repeated, then the refusal is returned.
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
