// One writer against a server: what refusals cost, what they leave behind, and which errors are never a row's fault.

import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply
@testable import Postgres

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

extension TestDatabase {
    /// Prepares and executes once on ``connection``.
    func apply(
        _ writer: TableWriter, _ batches: [ChangeBatch], _ claims: [PartitionClaim], isFinal: Bool = true, now: Double = 0
    ) async throws -> ApplyOutcome {
        let transaction = try writer.prepare(batches, claims: claims)
        return try await connection.perform { writer.execute(transaction, on: $0, final: isFinal ? .all : .none, now: now) }
    }

    func deadLetterCount() async throws -> Int { Int(try await rows("SELECT count(*)::text FROM sluice_dead_letters")[0]) ?? -1 }
}

extension ServerTests {
    @Suite struct TableWriterTests {
        private let checked =
            "CREATE TABLE messages (message_id int PRIMARY KEY, name text CHECK (name <> 'bad'), message text, "
            + "last_updated date DEFAULT current_date);"

        /// One refused row in 10,000, found by counting what the server says it executed.
        @Test(arguments: ["upserts", "mixed", "mixed, in any round", "sequential", "forced coalesce"])
        func oneRefusedRowCostsFewStatements(_ kind: String)
            async throws
        {
            let database = try await TestDatabase.fresh(
                checked + (kind == "sequential" ? "CREATE UNIQUE INDEX ON messages (message);" : ""))
            let writer = try await database.writer(
                messagesShape.written(kind == "forced coalesce" ? .coalesce : .auto))
            var random = SeededRandom.printed("refused row, \(kind)")
            let bad = Int.random(in: 0..<10_000, using: &random)
            let records = (0..<10_000).map { index -> TestRecord in
                let isMixed = kind.hasPrefix("mixed")
                let operation = isMixed && index != bad ? Operation.allCases[Int(random.next() % 4)] : .upsert
                let isShared = isMixed && (index != bad || kind != "mixed")
                return message(
                    operation, isShared ? Int(random.next() % 3_000) : index + 10_000, index == bad ? "bad" : "n", "\(index)")
            }
            let claims = try await database.claim(p0)
            let batch = changeBatch(p0, from: 0, records, shape: messagesShape)
            let clock = ContinuousClock.now
            var report: ApplyReport?
            let statements = try await database.countStatements {
                let outcome = try await database.apply(writer, [batch], claims)
                report = outcome.report
            }
            print("one refused row in 10,000, \(kind): \(statements.count) statements, \(ContinuousClock.now - clock)")
            #expect(report?.statements == statements.count, "what is counted is what the server logs")
            #expect(statements.count <= 60 && statements.count >= 8, "\(statements)")
            #expect(report?.isReplayed == true)
            #expect(report?.deadLetters == ["sql:check": 1])
            #expect(try await database.rows("SELECT \"offset\"::text FROM sluice_dead_letters") == ["\(bad * 2)"])
            if !kind.hasPrefix("mixed") { #expect(try await database.rows("SELECT count(*)::text FROM messages") == ["9999"]) }
        }

        @Test func halfOfTheRowsRefusedCostNoMore() async throws {
            let database = try await TestDatabase.fresh(checked)
            let writer = try await database.writer(messagesShape)
            let records = (0..<900).map { message(.upsert, $0, $0 % 2 == 0 ? "bad" : "n") }
            let claims = try await database.claim(p0)
            let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: messagesShape)], claims)
            #expect(outcome.report?.deadLetters == ["sql:check": 450])
            #expect(outcome.report?.counts == RowCounts(created: 450, updated: 0, deleted: 0))
            #expect((outcome.report?.statements ?? 99) < 30)
        }

        @Test func aDeadLetterTellsEverythingAndReplacesNoOther() async throws {
            let database = try await TestDatabase.fresh(try TestDatabase.migration("0001"))
            let writer = try await database.writer(messagesShape)
            let batch = RecordBatch(source: p1, generation: 1)
            var headers = ByteBuffer()
            Array("trace".utf8).withUnsafeBytes { name in RecordHeaders.append(name: name, value: name, to: &headers) }
            Array("k\0".utf8).withUnsafeBytes { key in
                batch.append(offset: 5, timestamp: 1_700_000_000_123, key: key, value: key, headers: headers.bytes)
                batch.append(offset: 6, timestamp: -1, key: nil, value: nil)
            }
            var changes = ChangeRows(columnCount: 3)
            changes.append(DecodeFault(record: 0, reason: "missing_field", detail: "/message_id is\0 missing"))
            changes.append(DecodeFault(record: 1, reason: "malformed_json", detail: "no object"))
            let claims = try await database.claim(p1)
            try await database.script(
                "INSERT INTO sluice_dead_letters VALUES ('g', 't', 1, 6, NULL, NULL, NULL, NULL, 'first', NULL, 'kept')")
            let outcome = try await database.apply(writer, [ChangeBatch(records: batch, rows: changes)], claims)
            #expect(outcome.report?.deadLetters == ["decode:missing_field": 1, "decode:malformed_json": 1])
            let rows = try await database.rows(
                """
                SELECT concat_ws('|', "offset", encode(key, 'hex'), encode(payload, 'hex'), headers,
                  record_timestamp AT TIME ZONE 'UTC',
                  reason, sqlstate, detail) FROM sluice_dead_letters WHERE topic = 't' AND partition = 1
                ORDER BY "offset", reason
                """)
            #expect(
                rows == [
                    #"5|6b00|6b00|[{"name": "trace", "value": "dHJhY2U="}]|2023-11-14 22:13:20.123|decode:missing_field"#
                        + "|/message_id is missing",
                    "6|decode:malformed_json|no object", "6|first|kept",
                ])
            #expect(try await database.rows("SELECT next_offset::text FROM sluice_offsets") == ["7"])
        }

        /// A trigger raises what the event's name says.
        private let raising = """
            CREATE TABLE messages (message_id int PRIMARY KEY, name text, message text, last_updated date DEFAULT current_date);
            CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF length(NEW.name) = 5 THEN RAISE EXCEPTION 'as told' USING ERRCODE = NEW.name; END IF; RETURN NULL; END $$;
            CREATE TRIGGER raise AFTER INSERT OR UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION raise();
            """

        private let outages = [
            ("08006", "retry unavailable"), ("40001", "retry conflict"), ("40P01", "retry conflict"),
            ("53100", "retry unavailable"), ("53200", "halved"), ("55P03", "retry conflict"), ("57014", "halved"),
            ("57P01", "retry unavailable"), ("57P03", "retry unavailable"), ("58030", "retry unavailable"), ("42P01", "stopped"),
            ("XX000", "stopped"), ("0A000", "stopped"), ("2200H", "stopped"), ("57P04", "retry unavailable"),
        ]

        /// Whether the refused events are isolated in bulk or sequentially.
        @Test(arguments: [1, 128]) func anOutageIsNeverADeadLetter(_ suspectEvents: Int) async throws {
            let database = try await TestDatabase.fresh(raising)
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.bisection.suspectEvents = suspectEvents
            let writer = try await database.writer(
                messagesShape.written(.auto, triggers: .rowLocal), configuration: configuration)
            #expect(writer.plan.choice.strategy == .rounds)
            let claims = try await database.claim(p0)
            for (state, expected) in outages {
                // The outage alone, and the outage behind a row that is really bad and gets the events replayed.
                let behind = [message(.upsert, 1, "22001"), message(.upsert, 2), message(.upsert, 3, state)]
                for records in [[message(.upsert, 1, state)], behind] {
                    let batch = changeBatch(p0, from: 0, records, shape: messagesShape)
                    let outcome = try await database.apply(writer, [batch], claims)
                    #expect(outcome.word == expected, "\(outcome)")
                    #expect(try await database.deadLetterCount() == 0)
                    #expect(try await database.rows("SELECT message_id::text FROM messages") == [])
                    #expect(try await database.rows("SELECT next_offset::text FROM sluice_offsets") == ["0"])
                    let isIdle = try await database.connection.perform { $0.transactionStatus == .idle }
                    #expect(isIdle)
                }
            }
        }

        @Test func timeoutsAreNotARowsFault() async throws {
            let database = try await TestDatabase.fresh(try TestDatabase.migration("0001"))
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let batch = changeBatch(p0, from: 0, [message(.upsert, 1)], shape: messagesShape)
            let blocker = try await database.connect()
            _ = try await blocker.perform { try $0.executeScript("BEGIN; LOCK messages") }
            try await database.script("SET lock_timeout = 50")
            #expect(try await database.apply(writer, [batch], claims).word == "retry conflict")
            try await database.script("SET lock_timeout = 0; SET statement_timeout = 50")
            #expect(try await database.apply(writer, [batch], claims).word == "halved")
            try await blocker.perform { try $0.rollback() }
            try await database.script("SET statement_timeout = 0")
            #expect(try await database.apply(writer, [batch], claims).word == "applied")
            #expect(try await database.deadLetterCount() == 0)
        }

        @Test func anOutcomeCanBeConfigured() async throws {
            let database = try await TestDatabase.fresh(checked)
            let configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable(overrides: ["23514": "stop"]))
            let writer = try await database.writer(messagesShape, configuration: configuration)
            let claims = try await database.claim(p0)
            let batch = changeBatch(p0, from: 0, [message(.upsert, 1), message(.upsert, 2, "bad")], shape: messagesShape)
            #expect(try await database.apply(writer, [batch], claims).stopped == [p0])
            #expect(try await database.rows("SELECT message_id::text FROM messages") == [])
        }

        @Test(arguments: [true, false]) func aPoisonedTopicStops(_ byDecoder: Bool) async throws {
            let database = try await TestDatabase.fresh(checked)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0, p1)
            let records = (0..<1_200).map { index -> TestRecord in
                index % 5 < 3 ? (byDecoder ? .fault("malformed_json") : message(.upsert, index, "bad")) : message(.upsert, index)
            }
            let batches = [
                changeBatch(p0, from: 0, records, shape: messagesShape),
                changeBatch(p1, from: 0, [message(.upsert, 9_999)], shape: messagesShape),
            ]
            let outcome = try await database.apply(writer, batches, claims)
            #expect(outcome.stopped == [p0], "\(outcome)")
            #expect(try await database.deadLetterCount() == 0)
            #expect(try await database.rows("SELECT max(next_offset)::text FROM sluice_offsets") == ["0"])
            // The other partition goes on without it.
            #expect(try await database.apply(writer, [batches[1]], claims).word == "applied")
        }

        /// Two lanes write the same keys at the same time; sorted, they wait for each other in one order.
        @Test func overlappingLanesDoNotDeadlock() async throws {
            let database = try await TestDatabase.fresh(try TestDatabase.migration("0001"))
            var random = SeededRandom.printed("deadlock")
            _ = try await database.claim(p0, p1)
            let seeds = [random.next(), random.next()]
            let words = try await withThrowingTaskGroup(of: [String].self) { group in
                for (index, source) in [p0, p1].enumerated() {
                    let writer = try await database.writer(messagesShape)
                    let connection = try await database.connect()
                    group.addTask {
                        var random = SeededRandom(seed: seeds[index])
                        var claim = PartitionClaim(source: source, epoch: 1, nextOffset: 0)
                        var words: [String] = []
                        for _ in 0..<15 {
                            let records = (0..<1_000).map { _ in message(.upsert, Int(random.next() % 2_000)) }
                            let batch = changeBatch(source, from: claim.nextOffset, records, shape: messagesShape)
                            let transaction = try writer.prepare([batch], claims: [claim])
                            let outcome = try await connection.perform { writer.execute(transaction, on: $0, now: 0) }
                            words.append(outcome.word)
                            claim.nextOffset = transaction.advances[0].next
                        }
                        return words
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(words == Array(repeating: "applied", count: 30))
        }

        @Test func appendTakesEveryEvent() async throws {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE messages (message_id int, name text, message text CHECK (message <> 'x'));")
            let shape = TableShape(name: "messages", columns: messagesShape.columns, key: [], mode: .append)
            let writer = try await database.writer(shape)
            #expect(writer.plan.choice.strategy == .rounds)
            let claims = try await database.claim(p0)
            let records = [message(.create, 1), message(.upsert, 1), message(.update, 1, "n", "x"), message(.create, 2)]
            let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: messagesShape)], claims)
            #expect(outcome.report?.deadLetters == ["sql:check": 1])
            #expect(try await database.rows("SELECT message_id::text FROM messages ORDER BY 1") == ["1", "1", "2"])
        }

        /// An index refuses a key of more than a third of a page; that must show although a Delete follows.
        @Test func whatAnIndexRefusesIsNotCoalesced() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE long (k text PRIMARY KEY, v text);")
            let shape = TableShape(
                name: "long", columns: [ColumnShape(name: "k", type: .text), ColumnShape(name: "v", type: .text)], key: [0])
            let writer = try await database.writer(shape)
            #expect(writer.plan.choice.strategy == .coalesce)
            var random = SeededRandom(seed: 1)
            let key = String((0..<6_000).map { _ in Character(UnicodeScalar(UInt8(33 + random.next() % 90))) })
            let records: [TestRecord] = [
                .event(.create, [.text(key), .text("v")]), .event(.delete, [.text(key), .null]),
                .event(.create, [.text("a"), .text("v")]),
            ]
            let claims = try await database.claim(p0)
            let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: shape)], claims)
            #expect(outcome.report?.deadLetters == ["sql:limit": 1], "\(outcome)")
            #expect(try await database.rows("SELECT k FROM long") == ["a"])
        }

        @Test func aSessionThatLostItsFunctionGetsItAgain() async throws {
            let database = try await TestDatabase.fresh(checked + "CREATE UNIQUE INDEX ON messages (message);")
            let writer = try await database.writer(messagesShape)
            var claims = try await database.claim(p0)
            let words = try await [0, 1, 2].asyncMap { index in
                if index == 1 { try await database.script("DISCARD TEMP") }
                let batch = changeBatch(
                    p0, from: claims[0].nextOffset, [message(.upsert, index, "n", "\(index)")], shape: messagesShape)
                let outcome = try await database.apply(writer, [batch], claims)
                if outcome.report != nil { claims[0].nextOffset = batch.records.nextOffset }
                return outcome.word
            }
            #expect(words == ["applied", "retry unavailable", "applied"])
        }

        /// The month's partition was not created: a fault of the schema, and no row's. Once it is there, all events are applied.
        @Test(arguments: WriteStrategy.allCases) func aMissingTablePartitionStops(_ strategy: WriteStrategy) async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE ev (id int PRIMARY KEY, v text\(strategy == .coalesce ? "" : " CHECK (v <> 'bad')")) PARTITION BY RANGE (id);
                CREATE TABLE ev_1 PARTITION OF ev \(strategy == .sequential ? "(UNIQUE (v))" : "") FOR VALUES FROM (0) TO (10);
                """)
            let shape = TableShape(
                name: "ev", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: .text)], key: [0])
            let writer = try await database.writer(shape)
            #expect(writer.plan.choice.strategy == strategy)
            let claims = try await database.claim(p0)
            // The refused row makes it a replay, in which the function must not take the missing partition for a refusal.
            let records: [TestRecord] = [(1, "bad"), (2, "good"), (11, "later")].map {
                .event(.upsert, [.int($0.0), .text($0.1)])
            }
            let batch = changeBatch(p0, from: 0, records, shape: shape)
            #expect(try await database.apply(writer, [batch], claims).stopped == [p0])
            #expect(try await database.deadLetterCount() == 0)
            try await database.script("CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM (10) TO (20)")
            let refused = strategy == .coalesce ? [:] : ["sql:check": 1]
            #expect(try await database.apply(writer, [batch], claims).word == "schema changed")
            let next = try await database.writer(shape)
            #expect(try await database.apply(next, [batch], claims).report?.deadLetters == refused)
            #expect(
                try await database.rows("SELECT v FROM ev ORDER BY ev.id") == (strategy == .coalesce ? ["bad"] : []) + [
                    "good", "later",
                ])
        }

        /// Where a trigger routes the row to a child and returns NULL, an Upsert has written it once.
        @Test func aTriggerThatRoutesRowsSeesAnUpsertOnce() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE m (id int PRIMARY KEY, v text, day date DEFAULT '1999-09-09');
                CREATE TABLE m1 (PRIMARY KEY (id)) INHERITS (m);
                CREATE TABLE audit (n serial, what text);
                CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO m1 VALUES (NEW.*); RETURN NULL; END $$;
                CREATE TRIGGER route BEFORE INSERT ON m FOR EACH ROW EXECUTE FUNCTION route();
                CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  INSERT INTO audit (what) VALUES (TG_OP || ' ' || NEW.v); RETURN NULL; END $$;
                CREATE TRIGGER see AFTER INSERT OR UPDATE ON m1 FOR EACH ROW EXECUTE FUNCTION see();
                """)
            let shape = TableShape(
                name: "m", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: .text)], key: [0],
                onUpdate: [("day", .currentDate)])
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let records: [TestRecord] = ["a", "b"].map { .event(.upsert, [.int(1), .text($0)]) }
            let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: shape)], claims)
            #expect(outcome.report?.deadLetters == [:], "\(outcome)")
            #expect(try await database.rows("SELECT what FROM audit ORDER BY n") == ["INSERT a", "UPDATE b"])
        }

        /// The same SQLSTATE says that a parent is missing and that a child is there.
        @Test func deletingAReferencedRowIsToldFromAMissingParent() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE par (id int PRIMARY KEY);
                CREATE TABLE kid (id int PRIMARY KEY, par int REFERENCES par);
                INSERT INTO par VALUES (1); INSERT INTO kid VALUES (1, 1);
                """)
            let claims = try await database.claim(p0)
            let parents = TableShape(name: "par", columns: [ColumnShape(name: "id", type: .int4)], key: [0])
            let children = TableShape(
                name: "kid", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "par", type: .int4)], key: [0])
            for (shape, event, word) in [
                (parents, TestRecord.event(.delete, [.int(1)]), "retry still_referenced"),
                (children, .event(.upsert, [.int(2), .int(7)]), "retry constraint"),
            ] {
                let writer = try await database.writer(shape)
                let batch = changeBatch(p0, from: 0, [event], shape: shape)
                #expect(try await database.apply(writer, [batch], claims, isFinal: false).word == word)
            }
        }

        /// An event that would only be inserted waits for no value: no event sets one free.
        @Test(arguments: WriteMode.allCases) func aTakenValueIsWaitedForWhereRowsGo(_ mode: WriteMode)
            async throws
        {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE); INSERT INTO t VALUES (1, 1)")
            let claims = try await database.claim(p0)
            let shape = TableShape(
                name: "t", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "n", type: .int4)], key: [0],
                mode: mode
            )
            let writer = try await database.writer(shape)
            let batch = changeBatch(p0, from: 0, [.event(.create, [.int(2), .int(1)])], shape: shape)
            let outcome = try await database.apply(writer, [batch], claims, isFinal: false)
            #expect(outcome.word == (mode == .upsert ? "retry constraint" : "applied"))
            #expect(try await database.deadLetterCount() == (mode == .upsert ? 0 : 1))
        }

        /// A pool keeps one bound for all arrays, whatever statements there are and however they differ in size.
        @Test func arraysKeepNoMoreThanTheirBound() async throws {
            let pool = ArrayPool(keptBytes: 100_000)
            for round in 0..<50 {
                var taken: [ParameterArray] = []
                for number in 0..<60 {
                    var writer = ParameterWriter(pool)
                    writer.texts(Array(repeating: String(repeating: "x", count: 100), count: (round * number) % 97))
                    taken += writer.finish(PreparedStatement("SELECT 1")).arrays
                }
                pool.give(taken)
                #expect(pool.bytes <= 100_000)
            }
            #expect(pool.bytes > 0)
        }

        /// Rows that are only inserted need no privilege to change them.
        @Test func insertOnlyNeedsThePrivilegesOfAnInsert() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE t (id int PRIMARY KEY, n int);
                DROP ROLE IF EXISTS sluice_inserts; CREATE ROLE sluice_inserts; GRANT SELECT, INSERT ON t TO sluice_inserts;
                """)
            let shape = TableShape(
                name: "t", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "n", type: .int4)], key: [0],
                mode: .insertOnly)
            let upsert = TableShape(name: "t", columns: shape.columns, key: [0])
            try await database.script("SET ROLE sluice_inserts")
            let plan = try await database.connection.perform { try WritePlan.checked(shape, on: $0) }
            #expect(plan.choice.strategy == .coalesce)
            await #expect(throws: ApplyError.self) {
                try await database.connection.perform { try WritePlan.checked(upsert, on: $0) }
            }
            try await database.script("RESET ROLE; DROP OWNED BY sluice_inserts; DROP ROLE sluice_inserts")
        }

        @Test func aBatchWithoutEventsMovesItsOffset() async throws {
            let database = try await TestDatabase.fresh(checked)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let outcome = try await database.apply(
                writer, [changeBatch(p0, from: 0, [.nothing, .nothing], shape: messagesShape)], claims)
            #expect(outcome.report?.records == 2 && outcome.report?.skipped == 2)
            #expect(try await database.rows("SELECT next_offset::text FROM sluice_offsets") == ["3"])
            #expect(throws: ApplyError.self) {
                try writer.prepare([changeBatch(p1, from: 0, [.nothing], shape: messagesShape)], claims: claims)
            }
        }
    }
}

extension Sequence {
    func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
        var result: [T] = []
        for element in self { result.append(try await transform(element)) }
        return result
    }
}
