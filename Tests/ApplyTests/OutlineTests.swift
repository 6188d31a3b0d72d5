// Tests what a suggested mapping learns of a table.

import Postgres
import Records
import TestSupport
import Testing

@testable import Apply

extension ServerTests {
    @Suite struct OutlineTests {
        @Test func columnsTypesAndTheKeyAreRead() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE SCHEMA "My s"; CREATE DOMAIN mail AS varchar(20);
                CREATE TABLE "My s".t (
                    b int8, gone int, v varchar(9) DEFAULT '', n numeric(12, 2), a text, s serial, d mail,
                    g int GENERATED ALWAYS AS (1) STORED, i int GENERATED ALWAYS AS IDENTITY, l text[], PRIMARY KEY (a, b));
                ALTER TABLE "My s".t DROP COLUMN gone; CREATE TABLE plain (x timestamptz(3));
                """)
            let outlines = try await database.connection.perform { session in
                try ["My s.t", "plain", "none"].map { try TableInspector.outline(of: $0, on: session) }
            }
            #expect(
                outlines[0]
                    == TableOutline(
                        columns: [
                            .init(name: "b", type: "bigint", isNotNull: true),
                            .init(name: "v", type: "character varying(9)", hasDefault: true),
                            .init(name: "n", type: "numeric(12,2)"), .init(name: "a", type: "text", isNotNull: true),
                            .init(name: "s", type: "integer", isNotNull: true, hasDefault: true),
                            .init(name: "d", type: "character varying(20)"),
                            .init(name: "g", type: "integer", hasDefault: true, isGenerated: true),
                            .init(name: "i", type: "integer", isNotNull: true, hasDefault: true, isGenerated: true),
                            .init(name: "l", type: "text[]"),
                        ], key: ["a", "b"]))
            #expect(outlines[1] == TableOutline(columns: [.init(name: "x", type: "timestamp(3) with time zone")], key: []))
            #expect(outlines[2] == nil)
        }
    }
}
