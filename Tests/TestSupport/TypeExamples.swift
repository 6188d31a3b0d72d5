// What each type of a column accepts and refuses: the source of docs/types.md, each line of which is tested.

/// The values of one type in one format.
public struct TypeExamples: Sendable {
    /// What a mapping says of the column, without its path.
    public let mapping: String
    /// The column's type in SQL.
    public let column: String
    /// What is to be said about it.
    public let text: String
    /// JSON values, and the text that PostgreSQL shows for each.
    public let accepted: [(json: String, shown: String)]
    /// JSON values that the decoder refuses, and `reason: detail` of the dead letter.
    public let refused: [(json: String, why: String)]
    /// JSON values that the table's column refuses, and `reason: detail` of the dead letter.
    public let refusedByColumn: [(json: String, why: String)]
    /// JSON values that the server refuses, and the SQLSTATE of the dead letter.
    public let refusedByServer: [(json: String, state: String)]
    /// Creates what the column's type needs.
    public let setUp: String

    init(
        _ mapping: String, in column: String? = nil, _ text: String, accepted: [(json: String, shown: String)],
        refused: [(json: String, why: String)], refusedByColumn: [(json: String, why: String)] = [],
        refusedByServer: [(json: String, state: String)] = [], setUp: String = ""
    ) {
        self.mapping = mapping
        self.column = column ?? mapping.split(separator: ",")[0].dropFirst("type: ".count).filter { $0 != "'" }
        self.text = text
        self.accepted = accepted
        self.refused = refused
        self.refusedByColumn = refusedByColumn
        self.refusedByServer = refusedByServer
        self.setUp = setUp
    }

    /// All of them, in the order of the page.
    public static let all = numbers + textsAndBytes + times + documents + arrays + casts

    private static let scaled = "an object with the scale and a two's complement integer in base64"
    private static let named = "a number, NaN, Infinity or -Infinity"

    private static let numbers = [
        TypeExamples(
            "type: bool", "Only true and false.", accepted: [("true", "true"), ("false", "false")],
            refused: [
                ("1", "wrong_type: /v must be a boolean, not an integer"),
                (#""true""#, "wrong_type: /v must be a boolean, not a string"),
                ("null", "wrong_type: /v must be a boolean, not null"),
            ]),
        TypeExamples(
            "type: bool, format: string", "The words true and false.", accepted: [(#""true""#, "true"), (#""false""#, "false")],
            refused: [
                (#""t""#, "wrong_type: /v must be true or false, in a string"),
                ("true", "wrong_type: /v must be a string, not a boolean"),
            ]),
        TypeExamples(
            "type: int2", "Integers without fraction and exponent; so for int4 and int8.",
            accepted: [("-32768", "-32768"), ("32767", "32767"), ("-0", "0")],
            refused: [
                ("32768", "out_of_range: /v is outside int2 (-32768 to 32767)"),
                ("1.0", "wrong_type: /v must be an integer, not a number with a fraction or an exponent"),
                (#""1""#, "wrong_type: /v must be an integer, not a string"),
            ]),
        TypeExamples(
            "type: int4", "", accepted: [("-2147483648", "-2147483648"), ("2147483647", "2147483647")],
            refused: [
                ("2147483648", "out_of_range: /v is outside int4 (-2147483648 to 2147483647)"),
                ("1e3", "wrong_type: /v must be an integer, not a number with a fraction or an exponent"),
            ]),
        TypeExamples(
            "type: int8", "",
            accepted: [("9007199254740993", "9007199254740993"), ("-9223372036854775808", "-9223372036854775808")],
            refused: [
                ("9223372036854775808", "out_of_range: /v is outside int8 (-9223372036854775808 to 9223372036854775807)"),
                (
                    "100000000000000000000000000000",
                    "out_of_range: /v is outside int8 (-9223372036854775808 to 9223372036854775807)"
                ),
            ]),
        TypeExamples(
            "type: int8, format: string", "In the shortest decimal form; so for int2 and int4.",
            accepted: [(#""9007199254740993""#, "9007199254740993"), (#""-1""#, "-1")],
            refused: [
                ("1", "wrong_type: /v must be a string, not an integer"),
                (#""01""#, "wrong_type: /v must be an integer, in a string"),
                (#""1.0""#, "wrong_type: /v must be an integer, in a string"),
                (
                    #""9223372036854775808""#,
                    "out_of_range: /v is outside int8 (-9223372036854775808 to 9223372036854775807)"
                ),
            ]),
        TypeExamples(
            "type: float4", "Rounded once, from the decimal digits to the nearest float4.",
            accepted: [
                ("0.1", "0.1"), ("16777217", "1.6777216e+07"), ("1.00000017881393432617187499", "1.0000001"), (#""NaN""#, "NaN"),
            ],
            refused: [
                ("1e39", "out_of_range: /v is outside float4"), ("1e-50", "out_of_range: /v is outside float4"),
                ("true", "wrong_type: /v must be \(named), not a boolean"),
            ]),
        TypeExamples(
            "type: float8", "Rounded to the nearest float8. NaN and the infinities are strings.",
            accepted: [
                ("0.1", "0.1"), ("-0.0", "-0"), ("1e308", "1e+308"), ("5e-324", "5e-324"),
                ("18446744073709551616", "1.8446744073709552e+19"), (#""Infinity""#, "Infinity"), (#""-inf""#, "-Infinity"),
                ("0e9999", "0"),
            ],
            refused: [
                ("1e400", "out_of_range: /v is outside float8"), ("1e-400", "out_of_range: /v is outside float8"),
                (#""0.1""#, "wrong_type: /v must be \(named)"),
            ]),
        TypeExamples(
            "type: float8, format: string", "So for float4.", accepted: [(#""0.1""#, "0.1"), (#""1e3""#, "1000")],
            refused: [
                ("0.1", "wrong_type: /v must be a string, not a number with a fraction or an exponent"),
                (#""0x10""#, "wrong_type: /v must be \(named), in a string"),
                (#""007""#, "wrong_type: /v must be \(named), in a string"),
                (#""1.""#, "wrong_type: /v must be \(named), in a string"),
                (#"".5""#, "wrong_type: /v must be \(named), in a string"),
                (#""""#, "wrong_type: /v must be \(named), in a string"),
            ]),
        TypeExamples(
            "type: numeric", "Every digit is kept, also zeros at the end. Infinities need PostgreSQL 14.",
            accepted: [
                ("0.10", "0.10"), ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
                ("1e3", "1000"), ("-1.5e-7", "-0.00000015"), ("10000", "10000"), ("0.0001", "0.0001"), ("-0.00", "0.00"),
                ("99999999", "99999999"), ("1E+2", "100"), (#""NaN""#, "NaN"), (#""Infinity""#, "Infinity"),
                (#""-Infinity""#, "-Infinity"),
            ],
            refused: [
                ("1e131072", "out_of_range: /v is outside numeric (131072 digits before the point, 16383 after it)"),
                ("1e-16384", "out_of_range: /v is outside numeric (131072 digits before the point, 16383 after it)"),
                (#""1.5""#, "wrong_type: /v must be \(named)"), ("[1]", "wrong_type: /v must be \(named), not an array"),
            ]),
        TypeExamples(
            "type: numeric", in: "numeric(5,2)",
            "A precision: the server rounds the fraction. What is then too large is refused.",
            accepted: [("1.005", "1.01"), ("999.99", "999.99"), (#""NaN""#, "NaN")],
            refused: [],
            refusedByColumn: [
                (
                    "999.995",
                    "out_of_range: column v is numeric(5,2), and the value does not round to an absolute value below 10^3"
                ),
                (#""Infinity""#, "out_of_range: column v has a precision, and takes no infinite value"),
            ]),
        TypeExamples(
            "type: numeric, format: string", "As many writers send decimals, so that no reader makes a float of them.",
            accepted: [(#""1.50""#, "1.50"), (#""+1e2""#, "100"), (#""nan""#, "NaN")],
            refused: [
                (#""1,5""#, "wrong_type: /v must be \(named), in a string"),
                (#"".5""#, "wrong_type: /v must be \(named), in a string"),
                (#""007""#, "wrong_type: /v must be \(named), in a string"),
                ("1.5", "wrong_type: /v must be a string, not a number with a fraction or an exponent"),
            ]),
        TypeExamples(
            "type: numeric, format: base64_decimal, scale: 2",
            "The big-endian two's complement integer of Kafka Connect and Debezium, of at most 1,024 bytes, divided by 10 to the power of "
                + "`scale`.",
            accepted: [
                (#""AeJA""#, "1234.56"), (#""/w==""#, "-0.01"), (#""AA==""#, "0.00"),
                (#""gAAAAAAAAAAA""#, "-23611832414348226068.48"),
                (#""AMnRbwE=""#, "33859458.57"),
            ],
            refused: [
                (#""*""#, "wrong_type: /v must be a two's complement integer in base64"),
                (#""""#, "wrong_type: /v must be a two's complement integer in base64"),
                ("1", "wrong_type: /v must be a string, not an integer"),
            ]),
        TypeExamples(
            "type: numeric, format: variable_scale_decimal",
            "As Debezium sends decimals without a fixed scale: the integer of `base64_decimal` and its scale.",
            accepted: [(#"{"scale":2,"value":"AeJA"}"#, "1234.56"), (#"{"scale":-1,"value":"/w=="}"#, "-10")],
            refused: [
                (#"{"value":"AeJA"}"#, "wrong_type: /v must be \(scaled)"),
                (#"{"scale":2,"value":7}"#, "wrong_type: /v must be \(scaled)"),
                (#"{"scale":"2","value":"AeJA"}"#, "wrong_type: /v must be \(scaled)"),
                (#""AeJA""#, "wrong_type: /v must be an object, not a string"),
            ]),
    ]

    private static let textsAndBytes = [
        TypeExamples(
            "type: text", "Also for varchar and char. UTF-8.",
            accepted: [(#""Zoë""#, "Zoë"), (#""a\"\u00e9""#, "a\"é"), (#""""#, "")],
            refused: [
                ("5", "wrong_type: /v must be a string, not an integer"),
                (#""a\u0000b""#, #"invalid_text: /v contains a NUL character (\u0000), which PostgreSQL cannot store"#),
                (#""\ud800""#, "invalid_text: an unpaired surrogate at byte 14, in /v"),
            ]),
        TypeExamples(
            "type: text", in: "varchar(3)",
            "A length, in characters. Spaces beyond it are cut, but not in a key, where they would name another row.",
            accepted: [(#""abc""#, "abc"), (#""ab   ""#, "ab ")],
            refused: [], refusedByColumn: [(#""abcd""#, "out_of_range: column v takes 3 characters, and the value has 4")]),
        TypeExamples(
            "type: text, nul: strip", "NUL characters are left out.",
            accepted: [(#""a\u0000b\u0000""#, "ab"), (#""\u0000""#, "")],
            refused: []),
        TypeExamples(
            "type: text, nul: replace", "U+FFFD takes the place of a NUL character.", accepted: [(#""a\u0000b""#, "a\u{FFFD}b")],
            refused: []),
        TypeExamples(
            "type: uuid", "32 hexadecimal digits, with all four hyphens or with none.",
            accepted: [
                (#""01234567-89ab-cdef-0123-456789abcdef""#, "01234567-89ab-cdef-0123-456789abcdef"),
                (#""0123456789ABCDEF0123456789ABCDEF""#, "01234567-89ab-cdef-0123-456789abcdef"),
            ],
            refused: [
                (
                    #""01234567-89ab-cdef-0123-456789abcde""#,
                    "wrong_type: /v must be a UUID, such as 01234567-89ab-cdef-0123-456789abcdef"
                ),
                (
                    #""01234567-89ab-cdef-0123-456789abcdeg""#,
                    "wrong_type: /v must be a UUID, such as 01234567-89ab-cdef-0123-456789abcdef"
                ),
                ("1", "wrong_type: /v must be a string, not an integer"),
            ]),
        TypeExamples(
            "type: bytea", "Base64, with the usual alphabet or the one for URLs; the `=` at the end may be left out.",
            accepted: [(#""AAEC/w==""#, #"\x000102ff"#), (#""__8""#, #"\xffff"#), (#""""#, #"\x"#)],
            refused: [
                (#""A""#, "wrong_type: /v must be base64"), (#""AB==""#, "wrong_type: /v must be base64"),
                (#""AA A""#, "wrong_type: /v must be base64"),
            ]),
        TypeExamples(
            "type: bytea, format: hex", #"Hexadecimal digits, perhaps with `\x` before them."#,
            accepted: [(#""00fF""#, #"\x00ff"#), (#""\\x0102""#, #"\x0102"#)],
            refused: [
                (#""0""#, "wrong_type: /v must be hexadecimal digits"), (#""0g""#, "wrong_type: /v must be hexadecimal digits"),
            ]),
    ]

    private static let times = [
        TypeExamples(
            "type: date", "Years 0001 to 9999. A `Z` may follow.",
            accepted: [(#""2024-02-29Z""#, "2024-02-29"), (#""0001-01-01""#, "0001-01-01"), (#""-infinity""#, "-infinity")],
            refused: [
                (#""2023-02-29""#, "out_of_range: /v is not a valid date"),
                (#""2024-2-9""#, "wrong_type: /v must be a date as YYYY-MM-DD"),
                (#""2024-02-29T00:00:00Z""#, "wrong_type: /v must be a date as YYYY-MM-DD"),
                ("19782", "wrong_type: /v must be a string, not an integer"),
            ]),
        TypeExamples(
            "type: date, format: days", "Days since 1970-01-01. For timestamp and timestamptz midnight UTC.",
            accepted: [("19782", "2024-02-29"), ("-1", "1969-12-31"), ("0.0", "1970-01-01"), ("-2440588", "4714-11-24 BC")],
            refused: [
                ("1.5", "wrong_type: /v must be a whole number of days since 1970"),
                ("3000000000", "out_of_range: /v is outside date"),
                (#""1""#, "wrong_type: /v must be a number, not a string"),
            ]),
        TypeExamples(
            "type: date, format: epoch_ms", "The day in UTC. Also `epoch_s`, `epoch_us` and `epoch_ns`.",
            accepted: [
                ("1709210096789", "2024-02-29"), ("-1", "1969-12-31"), ("86399999", "1970-01-01"),
                ("86399999.9999999", "1970-01-01"), ("-0.0000001", "1969-12-31"),
            ],
            refused: [("true", "wrong_type: /v must be a number, not a boolean")]),
        TypeExamples(
            "type: time", "Seconds may be left out. A `Z` may follow.",
            accepted: [(#""23:59:59.123456Z""#, "23:59:59.123456"), (#""09:30""#, "09:30:00"), (#""24:00:00""#, "24:00:00")],
            refused: [
                (#""25:00""#, "out_of_range: /v is not a valid time"), (#""9:30""#, "wrong_type: /v must be a time as HH:MM:SS"),
                (#""12:00:00+01:00""#, "wrong_type: /v must be a time as HH:MM:SS"),
            ]),
        TypeExamples(
            "type: time, format: epoch_us", "Since midnight. Also `epoch_s`, `epoch_ms` and `epoch_ns`.",
            accepted: [("43200000001", "12:00:00.000001"), ("86400000000", "24:00:00")],
            refused: [("86400000001", "out_of_range: /v is outside time"), ("-1", "out_of_range: /v is outside time")]),
        TypeExamples(
            "type: timestamp", "ISO 8601 in UTC; an offset is taken into account.",
            accepted: [
                (#""2024-02-29T12:34:56.789""#, "2024-02-29 12:34:56.789"), (#""2024-02-29 12:34""#, "2024-02-29 12:34:00"),
                (#""2024-02-29T12:34:56Z""#, "2024-02-29 12:34:56"), (#""2024-02-29T12:34:56+02:00""#, "2024-02-29 10:34:56"),
                (#""infinity""#, "infinity"),
            ],
            refused: [
                (#""2024-02-29""#, "wrong_type: /v must be an ISO 8601 timestamp, such as 2000-01-01T00:00:00"),
                (#""2024-02-30T00:00""#, "out_of_range: /v is not a valid time"),
                (#""9999-12-31T23:59:60""#, "out_of_range: /v is not a valid time"),
            ]),
        TypeExamples(
            "type: timestamptz",
            "ISO 8601 with an offset: `Z`, `+00`, `+0000` or `+00:00`; `T` or a space before the time; seconds may be left out. Fractions are "
                + "rounded to microseconds; second 60 is the next minute's first.",
            accepted: [
                (#""2024-02-29T12:34:56.789Z""#, "2024-02-29 12:34:56.789+00"),
                (#""2024-02-29 12:34+00""#, "2024-02-29 12:34:00+00"),
                (#""2024-02-29t12:34:56+0530""#, "2024-02-29 07:04:56+00"),
                (#""2024-02-29 12:34:56 -05:30""#, "2024-02-29 18:04:56+00"),
                (#""2024-02-29T12:34:56.1234565z""#, "2024-02-29 12:34:56.123457+00"),
                (#""1999-12-31T23:59:60Z""#, "2000-01-01 00:00:00+00"), (#""Infinity""#, "infinity"),
                (#""-infinity""#, "-infinity"),
            ],
            refused: [
                (
                    #""2024-02-29T12:34:56""#,
                    "wrong_type: /v must be an ISO 8601 timestamp with an offset, such as 2000-01-01T00:00:00Z"
                ),
                (
                    #""29.02.2024 12:34Z""#,
                    "wrong_type: /v must be an ISO 8601 timestamp with an offset, such as 2000-01-01T00:00:00Z"
                ),
                (#""2024-02-29T24:00:00Z""#, "out_of_range: /v is not a valid time"),
                (#""9999-12-31T23:59:59-01:00""#, "out_of_range: /v is not a valid time"),
                ("1709210096", "wrong_type: /v must be a string, not an integer"),
            ]),
        TypeExamples(
            "type: timestamptz, format: epoch_s", "A fraction is rounded to microseconds; so for timestamp.",
            accepted: [
                ("1709210096", "2024-02-29 12:34:56+00"), ("1709210096.1234567", "2024-02-29 12:34:56.123457+00"),
                ("1.7e9", "2023-11-14 22:13:20+00"), ("-0.5", "1969-12-31 23:59:59.5+00"),
            ],
            refused: [
                ("1e300", "out_of_range: /v is outside timestamptz"),
                ("9223372036854775808", "out_of_range: /v is outside timestamptz"),
                (#""1709210096""#, "wrong_type: /v must be a number, not a string"),
            ]),
        TypeExamples(
            "type: timestamptz, format: epoch_ms", "",
            accepted: [("1709210096789", "2024-02-29 12:34:56.789+00"), ("-1", "1969-12-31 23:59:59.999+00")],
            refused: []),
        TypeExamples(
            "type: timestamptz, format: epoch_us", "", accepted: [("1709210096789012", "2024-02-29 12:34:56.789012+00")],
            refused: []),
        TypeExamples(
            "type: timestamptz, format: epoch_ns", "",
            accepted: [
                ("1709210096789012499", "2024-02-29 12:34:56.789012+00"),
                ("1709210096789012500", "2024-02-29 12:34:56.789013+00"),
            ],
            refused: []),
        TypeExamples(
            "type: timestamp, format: epoch_ms", "", accepted: [("1709210096789", "2024-02-29 12:34:56.789")], refused: []),
        TypeExamples(
            "type: interval", "Read by the server, as `::interval` reads a text.",
            accepted: [(#""1 day 02:03:04""#, "1 day 02:03:04"), (#""P1Y2MT3H""#, "1 year 2 mons 03:00:00")],
            refused: [("5", "wrong_type: /v must be a string, not an integer")], refusedByServer: [(#""soon""#, "22007")]),
        TypeExamples(
            "type: interval, format: epoch_us", "A length. Also `epoch_s`, `epoch_ms` and `epoch_ns`.",
            accepted: [("90061000001", "25:01:01.000001"), ("-1", "-00:00:00.000001")],
            refused: [(#""PT1S""#, "wrong_type: /v must be a number, not a string")]),
    ]

    private static let documents = [
        TypeExamples(
            "type: json", "The document's own text, to the byte. `null` is SQL's null, where the column is nullable.",
            accepted: [
                (#"{"b": 1.10,  "a":[ ]}"#, #"{"b": 1.10,  "a":[ ]}"#), (#""x\u0041""#, #""x\u0041""#), ("1e400", "1e400"),
                ("true", "true"),
            ],
            refused: [
                (#"{"a":"\u0000"}"#, #"invalid_text: /v contains a NUL character (\u0000), which PostgreSQL cannot store"#),
                ("null", "wrong_type: /v must be JSON, not null"),
            ]),
        TypeExamples(
            "type: jsonb", "Numbers keep every digit.",
            accepted: [
                (#"{"b":1,"a":[1.10,{"c":"}"}]}"#, #"{"a": [1.10, {"c": "}"}], "b": 1}"#),
                ("123456789012345678901234567890", "123456789012345678901234567890"), (#""\\u0000""#, #""\\u0000""#),
                ("1e3", "1000"),
            ],
            refused: [
                (
                    #"{"a":[1e200000]}"#,
                    "out_of_range: /v contains a number outside numeric (131072 digits before the point, 16383 after it)"
                ),
                (#"["\u0000"]"#, #"invalid_text: /v contains a NUL character (\u0000), which PostgreSQL cannot store"#),
            ]),
        TypeExamples(
            "type: jsonb, nul: replace", "`strip` leaves the NUL characters out, also for json.",
            accepted: [(#"{"a\u0000":"\u0000\\u0000"}"#, #"{"a�": "�\\u0000"}"#)], refused: []),
        TypeExamples("type: json, nul: strip", "", accepted: [(#"["a\u0000b\u0000", 1]"#, #"["ab", 1]"#)], refused: []),
    ]

    private static let arrays = [
        TypeExamples(
            "type: 'text[]'",
            "Arrays of one dimension; elements may be null. Each element is as above, also with a format. Within braces YAML wants the quotes.",
            accepted: [
                (#"["a","b c",null,"NULL","","q\"\\é"]"#, #"{a,"b c",NULL,"NULL","","q\"\\é"}"#), ("[]", "{}"),
                ("[null]", "{NULL}"),
            ],
            refused: [
                (#""a""#, "wrong_type: /v must be an array, not a string"),
                (#"["a",1]"#, "wrong_type: each element of /v must be a string or null"),
                (#"[["a"]]"#, "wrong_type: each element of /v must be a string or null"),
                (
                    #"["\u0000"]"#,
                    #"invalid_text: an element of /v contains a NUL character (\u0000), which PostgreSQL cannot store"#
                ),
            ]),
        TypeExamples(
            "type: 'int4[]'", "", accepted: [("[1,null,-3]", "{1,NULL,-3}")],
            refused: [
                ("[1.5]", "wrong_type: each element of /v must be an integer or null"),
                ("[2147483648]", "out_of_range: an element of /v is outside int4 (-2147483648 to 2147483647)"),
            ]),
        TypeExamples(
            "type: 'int2[]'", "", accepted: [("[1]", "{1}")],
            refused: [("[true]", "wrong_type: each element of /v must be an integer or null")]),
        TypeExamples("type: 'int8[]'", "", accepted: [("[9007199254740993]", "{9007199254740993}")], refused: []),
        TypeExamples("type: 'bool[]'", "", accepted: [("[true,false]", "{t,f}")], refused: []),
        TypeExamples("type: 'float4[]'", "", accepted: [("[0.1,1e10]", "{0.1,1e+10}")], refused: []),
        TypeExamples(
            "type: 'float8[]'", "", accepted: [(#"[0.1,1e300,"NaN"]"#, "{0.1,1e+300,NaN}")],
            refused: [("[1e400]", "out_of_range: an element of /v is outside float8")]),
        TypeExamples(
            "type: 'numeric[]'", "",
            accepted: [
                (
                    #"[0.10,1e2,0.0001,123456789012345678901234567890.5,-1e-9,1e9,0,"NaN"]"#,
                    "{0.10,100,0.0001,123456789012345678901234567890.5,-0.000000001,1000000000,0,NaN}"
                ), ("[0e99999999999,1E+2,-0.00,null]", "{0,100,0.00,NULL}"),
            ], refused: []),
        TypeExamples(
            "type: 'uuid[]'", "",
            accepted: [(#"["0123456789abcdef0123456789abcdef"]"#, "{01234567-89ab-cdef-0123-456789abcdef}")],
            refused: []),
        TypeExamples("type: 'date[]'", "", accepted: [(#"["2024-02-29","infinity"]"#, "{2024-02-29,infinity}")], refused: []),
        TypeExamples("type: 'time[]'", "", accepted: [(#"["09:30"]"#, "{09:30:00}")], refused: []),
        TypeExamples(
            "type: 'timestamp[]'", "", accepted: [(#"["2024-02-29T12:34:56"]"#, #"{"2024-02-29 12:34:56"}"#)], refused: []),
        TypeExamples(
            "type: 'timestamptz[]', format: epoch_ms", in: "timestamptz[]", "",
            accepted: [
                ("[1709210096789,null]", #"{"2024-02-29 12:34:56.789+00",NULL}"#),
                ("[-99999999999999,999999999999999]", #"{"1200-02-15 14:13:20.001+00 BC","33658-09-27 01:46:39.999+00"}"#),
            ],
            refused: []),
        TypeExamples(
            "type: 'interval[]'", "", accepted: [(#"["1 day"]"#, #"{"1 day"}"#)], refused: [],
            refusedByServer: [(#"["soon"]"#, "22007")]),
        TypeExamples("type: 'json[]'", "", accepted: [(#"[{"a":1},null]"#, #"{"{\"a\":1}",NULL}"#)], refused: []),
        TypeExamples("type: 'jsonb[]'", "", accepted: [(#"[{"a":1},[1],"x"]"#, #"{"{\"a\": 1}",[1],"\"x\""}"#)], refused: []),
        TypeExamples(
            "type: 'bytea[]', format: hex", in: "bytea[]", "", accepted: [(#"["00ff"]"#, #"{"\\x00ff"}"#)], refused: []),
    ]

    private static let casts = [
        TypeExamples(
            "cast: inet", in: "inet",
            "Any other type: a string is sent as it is, every other value as its text in the document, and the server casts it.",
            accepted: [(#""2001:db8::1""#, "2001:db8::1/128")], refused: [("null", "wrong_type: /v must be JSON, not null")],
            refusedByServer: [(#""x""#, "22P02")]),
        TypeExamples(
            "cast: mood", in: "mood", "An enum.", accepted: [(#""sad""#, "sad")], refused: [],
            refusedByServer: [(#""bored""#, "22P02")],
            setUp: "CREATE TYPE mood AS ENUM ('sad', 'happy');"),
        TypeExamples(
            "cast: public.citext", in: "citext", "A type of an extension.", accepted: [(#""Ada""#, "Ada")], refused: [],
            setUp: "CREATE EXTENSION citext;"),
        TypeExamples("cast: int4range", in: "int4range", "", accepted: [(#""[1,5]""#, "[1,6)")], refused: []),
        TypeExamples("cast: tsvector", in: "tsvector", "", accepted: [(#""b a""#, "'a' 'b'")], refused: []),
        TypeExamples(
            "cast: jsonb", in: "jsonb", "A value that is no string is sent as its text.", accepted: [("[1, 2.50]", "[1, 2.50]")],
            refused: [], refusedByServer: [(#""x""#, "22P02")]),
        TypeExamples(
            "type: 'text[]', cast: 'inet[]'", in: "inet[]", "", accepted: [(#"["10.0.0.1"]"#, "{10.0.0.1}")], refused: []),
        TypeExamples(
            "type: int4, cast: text", in: "text", "With a type the value is read as that type, and then cast.",
            accepted: [("7", "7")],
            refused: [("\"7\"", "wrong_type: /v must be an integer, not a string")]),
        TypeExamples(
            "cast: varchar(3)", in: "varchar(3)", "A cast with a length cuts the value.", accepted: [(#""abcd""#, "abc")],
            refused: []),
    ]
}

/// The base, range and multirange types of PostgreSQL 15 that no mapping names as a `type`.
public enum OtherTypes {
    /// Reachable by `cast`, with a value of each.
    public static let cast = [
        "aclitem": "=r/pg_monitor", "bit": "1", "box": "(1,1),(0,0)", "bpchar": "a", "char": "a", "cid": "1",
        "cidr": "10.0.0.0/8", "circle": "<(0,0),1>", "datemultirange": "{[2024-01-01,2024-01-03)}",
        "daterange": "[2024-01-01,2024-01-03)",
        "inet": "10.0.0.1/8", "int2vector": "1 2", "int4multirange": "{[1,3)}", "int4range": "[1,3)", "int8multirange": "{[1,3)}",
        "int8range": "[1,3)", "jsonpath": "$.\"a\"", "line": "{1,2,3}", "lseg": "[(0,0),(1,1)]", "macaddr": "08:00:2b:01:02:03",
        "macaddr8": "08:00:2b:01:02:03:04:05", "money": "1.50", "name": "a", "nummultirange": "{[1,3)}", "numrange": "[1,3)",
        "oid": "1", "oidvector": "1 2", "path": "[(0,0),(1,1)]", "pg_lsn": "0/1", "pg_snapshot": "1:2:", "point": "(1,2)",
        "polygon": "((0,0),(1,1),(1,0))", "refcursor": "a", "regclass": "pg_type", "regcollation": "\"C\"",
        "regconfig": "english", "regdictionary": "simple", "regnamespace": "public", "regoper": "||/",
        "regoperator": "+(integer,integer)",
        "regproc": "now", "regprocedure": "now()", "regrole": "pg_monitor", "regtype": "integer", "tid": "(0,1)",
        "timetz": "12:00:00+00",
        "tsmultirange": "{[\"2024-01-01 00:00:00\",\"2024-01-02 00:00:00\")}", "tsquery": "'a' & 'b'",
        "tsrange": "[\"2024-01-01 00:00:00\",\"2024-01-02 00:00:00\")",
        "tstzmultirange": "{[\"2024-01-01 00:00:00+00\",\"2024-01-02 00:00:00+00\")}",
        "tstzrange": "[\"2024-01-01 00:00:00+00\",\"2024-01-02 00:00:00+00\")", "tsvector": "'a' 'b'", "txid_snapshot": "1:2:",
        "varbit": "101", "varchar": "a", "xid": "1", "xid8": "1", "xml": "<a/>",
    ]

    /// PostgreSQL itself takes no text for them: they exist inside of its catalog and its indexes only.
    public static let refused = [
        "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list", "pg_ndistinct",
        "pg_node_tree",
    ]
}
