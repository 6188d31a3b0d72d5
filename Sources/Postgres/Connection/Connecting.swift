// Connects: keywords, the handshake with one deadline, and the session's settings.

internal import CPq
internal import Glibc
internal import Platform
internal import Telemetry

/// Keywords and values for `PQconnectStartParams`.
struct ConnectionKeywords {
    private(set) var values: [(keyword: String, value: String)] = []

    /// A connection string, completed by the configuration.
    init(_ configuration: PostgresConfiguration, uri: String) throws(PostgresError) {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(uri, &message) else {
            let text = message.map { firstLine(String(cString: $0)) } ?? "out of memory"
            PQfreemem(message)
            throw PostgresError(
                .configuration,
                "the connection string cannot be understood: \(withoutQuotes(text)); "
                    + "write postgres://user:password@host:port/database, or keyword=value pairs")
        }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        complete("fallback_application_name", configuration.applicationName)
        complete("tcp_user_timeout", "\(configuration.tcpUserTimeout.milliseconds)")
        complete("keepalives_idle", "\(configuration.keepalivesIdle.seconds)")
        complete("keepalives_interval", "\(configuration.keepalivesInterval.seconds)")
        complete("keepalives_count", "\(configuration.keepalivesCount)")
        // Everything here writes: of several hosts the standby is passed over, and a lone server that has become one is an outage.
        complete("target_session_attrs", "read-write")
        // Overrides the user's choice: this program reads and writes text as UTF-8.
        values.removeAll { $0.keyword == "client_encoding" }
        values.append(("client_encoding", "UTF8"))
    }

    subscript(_ keyword: String) -> String? { values.first { $0.keyword == keyword }?.value }

    /// Overrides the password of the connection string, and of what libpq reads by itself.
    mutating func setPassword(_ password: String) {
        values.removeAll { $0.keyword == "password" }
        values.append(("password", password))
    }

    private mutating func complete(_ keyword: String, _ value: String) {
        if self[keyword] == nil { values.append((keyword, value)) }
    }

    /// Starts connecting. Blocks during name resolution.
    func start() throws(PostgresError) -> ConnectionHandle {
        var keywords = values.map { strdup($0.keyword) }
        var texts = values.map { strdup($0.value) }
        defer { for text in keywords + texts { free(text) } }
        keywords.append(nil)
        texts.append(nil)
        let connection = keywords.withUnsafeBufferPointer { keywords in
            texts.withUnsafeBufferPointer { texts in
                keywords.withMemoryRebound(to: UnsafePointer<CChar>?.self) { keywords in
                    texts.withMemoryRebound(to: UnsafePointer<CChar>?.self) { texts in
                        PQconnectStartParams(keywords.baseAddress, texts.baseAddress, 0)
                    }
                }
            }
        }
        guard let connection else { throw PostgresError(.connection, "libpq had no memory for a connection") }
        return ConnectionHandle(connection)
    }
}

/// A libpq message without its quoted parts, which may be a password.
func withoutQuotes(_ text: String) -> String {
    text.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
        .map { $0.offset.isMultiple(of: 2) ? String($0.element) : "…" }.joined(separator: "\"")
}

extension Duration {
    /// Whole seconds, rounded up.
    var seconds: Int64 { (milliseconds + 999) / 1000 }
}

/// Connects on the calling thread, which blocks until the session is ready or the deadline has passed.
func connectSession(
    _ configuration: PostgresConfiguration, signals: ConnectionSignals, log: @escaping LogHandler
) throws(PostgresError) -> PostgresSession {
    guard configuration.connectTimeout > .zero, configuration.replyTimeoutWithoutStatementTimeout > .zero else {
        throw PostgresError(.configuration, "the connect timeout and the reply timeout must be above zero")
    }
    var keywords = try configuration.presentKeywords()
    var timeout = configuration.connectTimeout
    if let own = keywords["connect_timeout"].flatMap({ Int64($0) }), own > 0 { timeout = .seconds(own) }
    let deadline = MonotonicClock.nanoseconds() + timeout.nanoseconds
    if !configuration.passwordCommand.isEmpty {
        let command = PasswordCommand(configuration.passwordCommand)
        keywords.setPassword(try command.password(deadline: deadline, timeout: timeout, interrupt: signals.interrupt))
    }
    let handle = try keywords.start()
    try handshake(handle.pointer, deadline: deadline, timeout: timeout, interrupt: signals.interrupt)

    let now = MonotonicClock.nanoseconds()
    let left = Duration.nanoseconds(Int64(clamping: deadline > now ? deadline - now : 1))
    let wire = Wire(handle, signals: signals, replyTimeout: left, log: log)
    let session = PostgresSession(wire: wire, statementCacheSize: configuration.statementCacheSize)
    let process = try applySettings(configuration, options: keywords["options"] ?? "", to: session)
    // A pooler has invented the number that it gave to libpq.
    if process != session.backendPID { try refuseTransactionPooling(session, process, keywords, deadline: deadline, log: log) }
    return session
}

/// Drives `PQconnectPoll`, which has no timeout of its own.
func handshake(
    _ connection: OpaquePointer, deadline: UInt64, timeout: Duration, interrupt: borrowing InterruptHandle
) throws(PostgresError) {
    // Before there is a result, only verbose messages contain the SQLSTATE.
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
    guard PQstatus(connection) != CONNECTION_BAD else { throw connectFailure(connection) }
    var wanted = PGRES_POLLING_WRITING
    while true {
        // The socket may have changed: libpq goes through several addresses.
        switch try waitForSocket(
            PQsocket(connection), read: wanted == PGRES_POLLING_READING, write: wanted == PGRES_POLLING_WRITING,
            interrupt: interrupt, deadline: deadline)
        {
        case .deadlinePassed:
            let host = PQhost(connection).map { String(cString: $0) } ?? "the server"
            let port = PQport(connection).map { String(cString: $0) } ?? "?"
            throw PostgresError(.timeout, "\(host) port \(port) has not completed a connection within \(timeout)")
        case .interrupted: throw .closed("connecting was cancelled by its owner")
        case .ready: break
        }
        wanted = PQconnectPoll(connection)
        switch wanted {
        case PGRES_POLLING_OK:
            PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
            return
        case PGRES_POLLING_READING, PGRES_POLLING_WRITING: continue
        default: throw connectFailure(connection)
        }
    }
}

/// The error of a connection that could not be made, with the SQLSTATE that a verbose message holds: `FATAL:  28P01: password …`.
private func connectFailure(_ connection: OpaquePointer) -> PostgresError {
    let (message, state) = connectFailure(String(cString: PQerrorMessage(connection)))
    return PostgresError(.connection, message, sqlState: state)
}

/// All of libpq's message in one line: each host that was tried has lines of its own, and a line may go on in the next. The SQLSTATE is that
/// of the last attempt; after it may come a hint after a tab, or DETAIL and HINT.
func connectFailure(_ text: String) -> (message: String, state: SQLState?) {
    var state: SQLState?
    let lines = text.split(whereSeparator: \.isNewline).map(String.init)
    let sentences = lines.filter { !$0.hasPrefix("LOCATION:") }.map { line in
        if ["\t", "DETAIL:", "HINT:"].contains(where: { line.hasPrefix($0) }) { return line }
        let (message, own) = splitState(line)
        state = own
        return message
    }
    let message = sentences.map { $0.drop { $0.isWhitespace } }.joined(separator: "; ")
    return (message.isEmpty ? "no reason given" : message, state)
}

/// Takes the five characters between two colons out of a verbose message.
func splitState(_ text: String) -> (message: String, state: SQLState?) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() where index > 0 && index < parts.count - 1 {
        // The server's format is `SEVERITY:  STATE: text`, with two spaces; a severity such as FATAL has five letters, too.
        guard part.hasPrefix("  ") else { continue }
        let code = part.drop { $0 == " " }
        guard code.utf8.count == 5, code.utf8.allSatisfy({ (48...57).contains($0) || (65...90).contains($0) }) else { continue }
        let rest = parts[..<index].joined(separator: ":") + ":" + parts[(index + 1)...].joined(separator: ":")
        return (rest, SQLState(String(code)))
    }
    return (text, nil)
}

/// Sets what the session relies on, except what the user's `options` set. Values must not depend on the role's or database's settings.
/// - Returns: the number of the server's process.
private func applySettings(
    _ configuration: PostgresConfiguration, options: String, to session: PostgresSession
) throws(PostgresError) -> Int32 {
    var settings = [
        ("client_min_messages", "warning"),
        // Of a timestamptz written into a timestamp, date or text column the value would depend on it.
        ("TimeZone", "UTC"),
        // So would that of a text that is cast.
        ("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres"), ("array_nulls", "on"),
        // And the text of a value, by which unchanged rows are told, and which text columns get.
        ("extra_float_digits", "1"), ("bytea_output", "hex"),
        // Names of tables stand in literals, and tombstones are found by them.
        ("standard_conforming_strings", "on"), ("quote_all_identifiers", "off"),
        // Bulk statements are planned for each batch; compiling each plan costs more than it saves.
        ("jit", "off"),
        // For the server's default of 4 the planner reads a whole table of half a million rows to find a batch of them by their key, which
        // takes four times as long. The manual recommends a lower value where most pages are cached, or the disk has no seek time.
        ("random_page_cost", "1.1"),
        ("statement_timeout", "\(configuration.statementTimeout.milliseconds)"),
        ("lock_timeout", "\(configuration.lockTimeout.milliseconds)"),
        ("idle_in_transaction_session_timeout", "\(configuration.idleInTransactionTimeout.milliseconds)"),
    ]
    // A topic may be quiet for longer than the server lets sessions idle. PostgreSQL 14 and newer.
    if session.serverVersion >= 140_000 { settings.append(("idle_session_timeout", "0")) }
    settings.removeAll { options.lowercased().contains($0.0.lowercased()) }
    let sets = settings.map { ", set_config('\($0.0)', '\($0.1)', false)" }.joined()
    let process = try session.execute("SELECT pg_backend_pid()" + sets).int32(0, 0)
    var statementTimeout = configuration.statementTimeout
    if options.lowercased().contains("statement_timeout") {
        let answer = try session.execute("SELECT setting::int8 FROM pg_settings WHERE name = 'statement_timeout'")
        statementTimeout = .milliseconds(try answer.int64(0, 0))
    }
    session.replyTimeout =
        statementTimeout > .zero
        ? statementTimeout + configuration.replyGrace : configuration.replyTimeoutWithoutStatementTimeout
    return process
}
