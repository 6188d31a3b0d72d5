// Binary values: what is sent comes back, for every type the mappings know, and arrays are what PostgreSQL takes them for.

import Postgres
import Records
import TestSupport
import Testing

@Suite("Binary values", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct BinaryTests {
    @Test("Scalars of every type, their ends and NULL")
    func scalars() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            let parameters = Parameters()
            for number in [Int64.min, -1, 0, 1, Int64.max] {
                parameters.removeAll()
                parameters.append(int8: number)
                parameters.append(int4: Int32(clamping: number))
                parameters.append(bool: number > 0)
                parameters.append(text: "ü€😀 \(number)")
                parameters.append(bytes: [0, 1, 255])
                parameters.appendNull(type: TypeOID.text)
                let row = try session.execute(
                    """
                    SELECT $1, $2, $3, $4, $5, $6, $1::text, $2::text, $3::text, length($5),
                      least(greatest($2, -32768), 32767)::int2
                    """, parameters)
                #expect(try row.int64(0, 0) == number)
                #expect(try row.int32(0, 1) == Int32(clamping: number))
                #expect(try row.int32(0, 10) == Int32(Int16(clamping: number)))
                #expect(try row.bool(0, 2) == (number > 0))
                #expect(try row.text(0, 3) == "ü€😀 \(number)")
                #expect(try row.bytes(0, 4) == [0, 1, 255])
                #expect(row.isNull(0, 5) && !row.isNull(0, 4))
                #expect(try row.text(0, 6) == "\(number)" && row.text(0, 7) == "\(Int32(clamping: number))")
                #expect(try row.text(0, 8) == "\(number > 0)")
                #expect(try row.int32(0, 9) == 3)
                #expect(postgresError { _ = try row.text(0, 5) }?.code == .protocolViolation)
                #expect(postgresError { _ = try row.int64(0, 3) }?.code == .protocolViolation)
            }
        }
        await connection.close()
    }

    @Test("Values out of an accessor's range are errors, object identifiers are unsigned")
    func accessors() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            let row = try session.execute(
                "SELECT 4294967295::oid AS o, 2147483648::int8 AS big, 'x'::name AS n")
            #expect(try row.int64(0, 0) == 4_294_967_295)
            #expect(postgresError { _ = try row.int32(0, 1) }?.message.contains("big") == true)
            #expect(try row.text(0, 2) == "x")
            #expect(row.columnName(2) == "n" && row.columnType(0) == TypeOID.oid && row.columnCount == 3 && row.rowCount == 1)
        }
        await connection.close()
    }

    @Test("A text that holds NUL is refused by the server, not cut")
    func nulInText() async throws {
        let connection = try await connect()
        let error = await postgresError {
            try await connection.perform { session in
                let parameters = Parameters()
                parameters.append(text: "ab\u{0}cd")
                try session.execute("SELECT $1", parameters)
            }
        }
        #expect(error?.sqlState == SQLState("22021"))
        await connection.close()
    }

    @Test("Arrays of numbers, texts and times, with NULL, empty, and reused memory")
    func arrays() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            let parameters = Parameters()
            for type in [ColumnType.int2, .int4, .int8, .text, .date, .timestamptz] {
                var array = BinaryArray(element: type.oid)
                for rows in [0, 1, 1000] {
                    array.removeAll()
                    for row in 0..<rows {
                        if row % 7 == 3 {
                            array.append(nil)
                            continue
                        }
                        switch type {
                        case .int2: array.append(Int16(row))
                        case .int4, .date: array.append(Int32(row))
                        case .int8, .timestamptz: array.append(Int64(row))
                        case .text: array.append("row \(row)")
                        default: Issue.record("\(type) has no values here")
                        }
                    }
                    parameters.removeAll()
                    parameters.append(array: &array, type: TypeOID.array(of: type.oid))
                    let statement = PreparedStatement(
                        "SELECT x, count(*) OVER (), count(x) OVER () FROM unnest($1::\(type.arrayName)) WITH ORDINALITY u(x, n) ORDER BY n",
                        types: parameters.types)
                    let answer = try session.execute(statement, parameters)
                    #expect(answer.rowCount == rows, "\(type)")
                    for row in 0..<rows {
                        #expect(answer.isNull(row, 0) == (row % 7 == 3))
                        if row % 7 == 3 { continue }
                        if type == .text { #expect(try answer.text(row, 0) == "row \(row)") }
                        if type != .text { #expect(try answer.int64(row, 0) == Int64(row)) }
                    }
                }
            }
        }
        await connection.close()
    }

    @Test("Random parameter lists come back as sent, from memory that is reused")
    func randomLists() async throws {
        let seed = UInt64.random(in: .min ... .max)
        print("BinaryTests.randomLists: seed \(seed)")
        let connection = try await connect()
        try await connection.perform { session in
            var random = SeededRandom(seed: seed)
            let parameters = Parameters()
            for _ in 0..<100 {
                parameters.removeAll()
                let values = (0..<Int.random(in: 1...20, using: &random)).map { _ -> [UInt8]? in
                    if Int.random(in: 0..<5, using: &random) == 0 { return nil }
                    return (0..<Int.random(in: 0...400, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                }
                for value in values {
                    if let value { parameters.append(bytes: value) } else { parameters.appendNull(type: TypeOID.bytea) }
                }
                let sql = "SELECT " + (1...values.count).map { "$\($0)::bytea" }.joined(separator: ", ")
                let row = try session.execute(sql, parameters)
                let back = try values.indices.map { row.isNull(0, $0) ? nil : try row.bytes(0, $0) }
                #expect(back == values, "seed \(seed)")
            }
        }
        await connection.close()
    }
}

@Suite struct BinaryArrayTests {
    @Test func arrayHasPostgresBinaryForm() {
        var array = BinaryArray(element: 23)
        array.append(Int32(1))
        array.append(nil)
        let form = array.withBytes { Array($0) }
        #expect(
            form == [
                0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1,
                0, 0, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF,
            ])
        array.removeAll()
        let flag = array.withBytes { $0[7] }
        #expect(flag == 0)
    }
}
