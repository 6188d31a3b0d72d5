// Declares the section `postgres`.

import Settings

struct PostgresSettings: Sendable {
    var uri = "postgres://127.0.0.1:5432/sluice"
    /// The file that the environment names for ``uri``, where it can be read more than once; no key.
    var uriFile: String?
    var passwordCommand: [String] = []
    var connections = 4
    var migrate = true
    var migrations = ""
    var connectTimeout = Duration.seconds(10)
    var statementTimeout = Duration.seconds(30)
    var lockTimeout = Duration.seconds(5)
    var idleInTransactionTimeout = Duration.seconds(30)

    static let section = Section<PostgresSettings>(
        "postgres", help: "PostgreSQL: where rows are written.",
        keys: [
            Key(
                "uri", \.uri, .string,
                help:
                    "libpq connection URI or keyword string. Put one with a password into a file that "
                    + "SLUICE_POSTGRES_URI_FILE names; it is read again for each new connection, so that a changed password needs no "
                    + "restart.", secrecy: .connectionString),
            Key(
                "password_command", \.passwordCommand, .list(of: .string),
                help:
                    "A program and its arguments, run without a shell before each connection and within connect_timeout; what it "
                    + "prints is the password, such as a token that expires. Empty: none."),
            Key(
                "connections", \.connections, .int(in: 1...64),
                help:
                    "Lanes: connections that write. Each has its own share of the partitions."),
            Key(
                "migrate", \.migrate, .bool,
                help:
                    "Apply pending migrations at the start. false: `sluice migrate` applies them, and `sluice run` fails "
                    + "while any is pending."),
            Key(
                "migrations", \.migrations, .path,
                help:
                    "Directory of your own migrations, relative to this file: SQL files with a number each, such as "
                    + "0001_orders.sql, applied in order. Empty: none. Sluice's own tables need no files."),
            Key(
                "connect_timeout", \.connectTimeout, .duration(in: .milliseconds(100) ... .seconds(300)),
                help: "Timeout of connecting."),
            Key(
                "statement_timeout", \.statementTimeout, .duration(in: .milliseconds(100) ... .seconds(3600)),
                help:
                    "PostgreSQL's statement_timeout; a batch that takes longer is halved."),
            Key(
                "lock_timeout", \.lockTimeout, .duration(in: .milliseconds(10) ... .seconds(3600)),
                help:
                    "PostgreSQL's lock_timeout: how long a statement waits for a lock before the batch is retried."),
            Key(
                "idle_in_transaction_timeout", \.idleInTransactionTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help:
                    "PostgreSQL's idle_in_transaction_session_timeout: the server ends the transaction of a worker that has "
                    + "stopped responding."),
        ],
        rules: [
            Rule("uri", sentence: "must not be empty") { !$0.uri.isEmpty },
            Rule("password_command", sentence: "must begin with a program") { $0.passwordCommand.first != "" },
            Rule("lock_timeout", "statement_timeout", sentence: "must be below statement_timeout") {
                $0.lockTimeout < $0.statementTimeout
            },
        ])
}
