// The tables of the oracle test with row triggers and rules, with keys of the server's own, and with partitions.

import Records
import TestSupport

@testable import Apply

extension OracleCase {
    private static func shape(_ columns: String..., triggers: WriteChoice.Triggers = .unknown) -> TableShape {
        TableShape(
            name: "t", columns: columns.map { ColumnShape(name: $0, type: $0 == "note" ? .text : .int4) }, key: [0],
            write: WriteChoice(triggers: triggers))
    }

    private static let rows = ["SELECT t::text FROM t ORDER BY id"]

    /// "Only the newest is current": the trigger writes other rows.
    static let newestIsCurrent = OracleCase(
        name: "row trigger that writes other rows",
        ddl: {
            """
            CREATE TABLE t (id int PRIMARY KEY, product int, is_current bool NOT NULL DEFAULT true);
            CREATE FUNCTION switch_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              UPDATE t SET is_current = false WHERE product = NEW.product AND id <> NEW.id AND is_current; RETURN NULL; END $$;
            CREATE TRIGGER switch_off AFTER INSERT OR UPDATE OF product ON t FOR EACH ROW EXECUTE FUNCTION switch_off();
            """
        },
        shape: shape("id", "product"), strategy: .sequential, queries: rows,
        reset: "TRUNCATE t; INSERT INTO t VALUES (0, 0), (1, 1);",
        values: { key, random in [.int(Int32(key)), .int(Int32(random.next() % 3))] })

    /// The trigger refuses a row for what other rows have.
    static let judgesOthers = OracleCase(
        name: "row trigger that judges other rows",
        ddl: {
            """
            CREATE TABLE t (id int PRIMARY KEY, customer int, amount int);
            CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF (SELECT sum(amount) FROM t WHERE customer = NEW.customer) > 100 THEN RAISE 'more than 100'; END IF;
              RETURN NULL; END $$;
            CREATE TRIGGER judge AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION judge();
            """
        },
        shape: shape("id", "customer", "amount"), strategy: .sequential, queries: rows,
        reset: "TRUNCATE t; INSERT INTO t VALUES (0, 0, 90), (1, 1, 50);",
        values: { key, random in [.int(Int32(key)), .int(Int32(random.next() % 2)), .int(Int32(random.next() % 60))] },
        refusals: ["P0001"])

    /// The trigger skips some rows.
    private static func skips(_ triggers: WriteChoice.Triggers, _ strategy: WriteStrategy) -> OracleCase {
        OracleCase(
            name: "BEFORE triggers that return NULL, \(triggers.rawValue)",
            ddl: {
                """
                CREATE TABLE t (id int PRIMARY KEY, amount int, note text);
                CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  IF TG_OP = 'DELETE' THEN IF OLD.amount % 4 = 1 THEN RETURN NULL; END IF; RETURN OLD; END IF;
                  IF NEW.amount % 5 = (CASE TG_OP WHEN 'INSERT' THEN 2 ELSE 3 END) THEN RETURN NULL; END IF;
                  NEW.note := NEW.note || left(TG_OP, 1); RETURN NEW; END $$;
                CREATE TRIGGER skip BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION skip();
                """
            },
            shape: shape("id", "amount", "note", triggers: triggers), strategy: strategy, queries: rows,
            reset: "TRUNCATE t; INSERT INTO t VALUES (0, 0, ''), (1, 1, '');",
            values: { key, random in
                [.int(Int32(key)), .int(Int32(random.next() % 30)), .text("n\(random.next() % 9)")]
            })
    }

    static let skipsUnknown = skips(.unknown, .sequential)
    static let skipsLocal = skips(.rowLocal, .rounds)

    /// The usual `set_updated_at`, with a text that can be compared; it refuses some inserts.
    static let setsUpdatedAt = OracleCase(
        name: "set_updated_at, row_local",
        ddl: {
            """
            CREATE TABLE t (id int PRIMARY KEY, note text, revision int, updated_at text);
            CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF TG_OP = 'INSERT' AND NEW.note = 'n3' THEN RAISE 'not on insert'; END IF;
              NEW.revision := coalesce(OLD.revision, 0) + 1; NEW.updated_at := NEW.note || '+'; NEW.note := NEW.note || '*';
              RETURN NEW; END $$;
            CREATE TRIGGER set_updated_at BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION set_updated_at();
            """
        },
        shape: shape("id", "note", triggers: .rowLocal), strategy: .rounds, queries: rows,
        reset: "TRUNCATE t; INSERT INTO t VALUES (0, 'a'), (1, 'b');",
        values: { key, random in [.int(Int32(key)), .text("n\(random.next() % 9)")] }, refusals: ["P0001"])

    /// Rules write beside the events, in their order.
    static let doesAlso = OracleCase(
        name: "rules that do also",
        ddl: {
            """
            CREATE TABLE t (id int PRIMARY KEY, amount int CHECK (amount < 50)); CREATE TABLE seen (n bigserial, what text);
            CREATE RULE i AS ON INSERT TO t DO ALSO INSERT INTO seen (what) VALUES ('I' || NEW.id || ' ' || NEW.amount);
            CREATE RULE u AS ON UPDATE TO t DO ALSO INSERT INTO seen (what) VALUES ('U' || OLD.amount || ' ' || NEW.amount);
            CREATE RULE d AS ON DELETE TO t DO ALSO INSERT INTO seen (what) VALUES ('D' || OLD.id || ' ' || OLD.amount);
            """
        },
        shape: shape("id", "amount"), strategy: .sequential, queries: rows + ["SELECT what FROM seen ORDER BY n"],
        reset: "TRUNCATE t, seen; INSERT INTO t VALUES (0, 0), (1, 1); TRUNCATE seen;",
        values: { key, random in [.int(Int32(key)), .int(Int32(random.next() % 53))] }, refusals: ["23514"])

    /// Triggers that run only for events that have one of their columns, also where the value is as it was.
    static let updateOf = OracleCase(
        name: "triggers UPDATE OF optional columns",
        ddl: {
            """
            CREATE TABLE t (id int PRIMARY KEY, a int, b int, c int, note text); CREATE TABLE seen (n bigserial, what text);
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              INSERT INTO seen (what) VALUES (TG_NAME || ' ' || TG_LEVEL || coalesce(' ' || NEW.id, '')); RETURN NULL; END $$;
            CREATE TRIGGER of_a AFTER UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION see();
            CREATE TRIGGER of_bc AFTER UPDATE OF b, c ON t FOR EACH STATEMENT EXECUTE FUNCTION see();
            CREATE TRIGGER of_a_note AFTER UPDATE OF a, note ON t FOR EACH ROW EXECUTE FUNCTION see();
            """
        },
        shape: TableShape(
            name: "t",
            columns: [ColumnShape(name: "id", type: .int4)]
                + ["a", "b", "c"].map { ColumnShape(name: $0, type: .int4, isOptional: true) }
                + [ColumnShape(name: "note", type: .text)],
            key: [0], write: WriteChoice(triggers: .rowLocal)),
        strategy: .sequential, queries: rows + ["SELECT what FROM seen ORDER BY n"],
        reset: "TRUNCATE t, seen; INSERT INTO t VALUES (0, 0, 0, 0, ''), (1, 1, 1, 1, ''); TRUNCATE seen;",
        values: { key, random in
            [.int(Int32(key))] + (0..<3).map { _ in random.chance(0.6) ? .absent : .int(Int32(random.next() % 3)) }
                + [.text("n\(random.next() % 3)")]
        })

    static let ofTriggers = [
        newestIsCurrent, judgesOthers, skipsUnknown, skipsLocal, setsUpdatedAt, doesAlso, updateOf,
    ]

    // MARK: Keys and partitions

    /// A number of the server's beside the natural key. `id <= 2`: the row is the one that was there at the beginning.
    private static func surrogate(_ type: String) -> OracleCase {
        OracleCase(
            name: "\(type) key beside the natural one",
            ddl: { "CREATE TABLE t (id \(type) PRIMARY KEY, code int NOT NULL UNIQUE, amount int, note text);" },
            shape: shape("code", "amount", "note"), strategy: .coalesce,
            queries: ["SELECT (code, amount, note, id <= 2)::text FROM t ORDER BY code"],
            reset: "TRUNCATE t RESTART IDENTITY; INSERT INTO t (code, amount, note) VALUES (0, 0, ''), (1, 1, '');",
            values: { key, random in
                [.int(Int32(key)), .int(Int32(random.next() % 30)), .text("n\(random.next() % 9)")]
            })
    }

    static let surrogateWide = surrogate("bigserial")
    static let surrogateShort = surrogate("serial")
    static let surrogateIdentity = surrogate("int GENERATED ALWAYS AS IDENTITY")

    private static func parts(
        _ strategy: WriteStrategy, _ constraint: String, _ more: String = "", refusals: Set<String> = []
    ) -> OracleCase {
        OracleCase(
            name: "partitioned table, \(strategy)",
            ddl: {
                """
                CREATE TABLE t (id int, region int, note text, PRIMARY KEY (region, id)\(constraint)) PARTITION BY LIST (region);
                CREATE TABLE t_0 PARTITION OF t FOR VALUES IN (0);
                CREATE TABLE t_rest PARTITION OF t DEFAULT PARTITION BY HASH (id);
                CREATE TABLE t_rest_0 PARTITION OF t_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                CREATE TABLE t_rest_1 PARTITION OF t_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                \(more)
                """
            },
            shape: TableShape(
                name: "t",
                columns: [
                    ColumnShape(name: "id", type: .int4), ColumnShape(name: "region", type: .int4),
                    ColumnShape(name: "note", type: .text, isNullable: true),
                ], key: [0, 1], write: WriteChoice(triggers: .rowLocal)),
            strategy: strategy, queries: ["SELECT t::text FROM t ORDER BY id, region"],
            reset: "TRUNCATE t; INSERT INTO t VALUES (0, 0, 'a'), (1, 1, 'b');",
            values: { key, random in
                [.int(Int32(key)), .int(Int32(key % 3)), random.chance(0.1) ? .null : .text("n\(random.next() % 9)")]
            }, refusals: refusals)
    }

    static let partitionsCoalesced = parts(.coalesce, "")
    static let partitionsInRounds = parts(
        .rounds, ", CHECK (note <> 'n7')",
        """
        CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          NEW.note := NEW.note || left(TG_OP, 1); RETURN NEW; END $$;
        CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON t FOR EACH ROW WHEN (NEW.note <> 'n7') EXECUTE FUNCTION mark();
        """, refusals: ["23514"])

    static let ofPartitionsAndKeys = [
        surrogateWide, surrogateShort, surrogateIdentity, partitionsCoalesced, partitionsInRounds,
    ]
}
