// Declares the section `postgres`: where rows go.

import Admission
import Settings

struct PostgresSettings: Sendable {
    var uri = "postgres://127.0.0.1:5432/sluice"
    var connections = 4
    var migrate = true
    var migrations = "migrations"
    var connectTimeout = Duration.seconds(10)
    var statementTimeout = Duration.seconds(30)
    var lockTimeout = Duration.seconds(5)
    var idleInTransactionTimeout = Duration.seconds(30)

    static let section = Section<PostgresSettings>(
        "postgres", help: "Where rows go.",
        keys: [
            Key(
                "uri", \.uri, .string, help: "Any libpq connection URI or keyword string.", secrecy: .connectionString),
            Key(
                "connections", \.connections, .int(in: 1...64),
                help: "Apply lanes: connections that write, each with its own share of the partitions."),
            Key(
                "migrate", \.migrate, .bool,
                help: "Apply pending migrations at the start. false: leave that to `sluice migrate` and refuse to start without."),
            Key("migrations", \.migrations, .path, help: "Directory of the numbered SQL files, relative to this file."),
            Key(
                "connect_timeout", \.connectTimeout, .duration(in: .milliseconds(100) ... .seconds(300)),
                help: "How long connecting may take."),
            Key(
                "statement_timeout", \.statementTimeout, .duration(in: .milliseconds(100) ... .seconds(3600)),
                help: "How long the server works on one statement; a batch that takes longer is halved."),
            Key(
                "lock_timeout", \.lockTimeout, .duration(in: .milliseconds(10) ... .seconds(3600)),
                help: "How long a statement waits for a lock before the batch is tried again."),
            Key(
                "idle_in_transaction_timeout", \.idleInTransactionTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help: "When the server ends a transaction whose worker has gone silent."),
        ],
        rules: [
            Rule("uri", sentence: "must not be empty") { !$0.uri.isEmpty },
            Rule("lock_timeout", "statement_timeout", sentence: "must be below statement_timeout") {
                $0.lockTimeout < $0.statementTimeout
            },
        ])
}
