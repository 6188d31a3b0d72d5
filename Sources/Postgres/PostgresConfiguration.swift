// Holds the settings of a connection: server, user and timeouts.

/// Where and how to connect. Timeouts of zero mean none, as in PostgreSQL, except where noted.
public struct PostgresConfiguration: Sendable {
    /// Any libpq URI or keyword string. Its settings take precedence over the fields below.
    public var uri: String
    /// A file that holds the ``uri`` and is read again for each connection; `nil`: ``uri`` does not change. One that cannot be read is an
    /// outage.
    public var uriFile: String?
    /// A program and its arguments, run before each connection within the time of connecting: its output is the password, which overrides
    /// that of the ``uri``. Empty: none. One that fails is an outage.
    public var passwordCommand: [String] = []
    /// Shown in `pg_stat_activity`.
    public var applicationName = "sluice"
    /// For the whole of connecting, authentication and session settings included. Must be above zero.
    ///
    /// Of several hosts in ``uri``, one that does not answer uses at most ``tcpUserTimeout`` of it.
    public var connectTimeout: Duration = .seconds(10)
    /// The server cancels a statement that runs longer (SQLSTATE 57014).
    public var statementTimeout: Duration = .seconds(30)
    /// The server gives up waiting for one lock (SQLSTATE 55P03).
    public var lockTimeout: Duration = .seconds(5)
    /// The server ends a session that leaves a transaction open without doing anything.
    public var idleInTransactionTimeout: Duration = .seconds(30)
    /// The kernel closes a connection whose data is not acknowledged for this long (`tcp_user_timeout`).
    public var tcpUserTimeout: Duration = .seconds(10)
    /// Idle time before the first TCP keepalive probe.
    public var keepalivesIdle: Duration = .seconds(5)
    /// Time between keepalive probes.
    public var keepalivesInterval: Duration = .seconds(2)
    /// Unanswered probes after which the connection is dead.
    public var keepalivesCount = 3
    /// The connection is closed where the server has sent nothing for ``statementTimeout`` and this long.
    public var replyGrace: Duration = .seconds(5)
    /// The same where there is no statement timeout. Must be above zero.
    public var replyTimeoutWithoutStatementTimeout: Duration = .seconds(3600)
    /// Prepared statements a connection keeps; the one used longest ago is dropped.
    public var statementCacheSize = 128

    /// Defaults for the other settings.
    public init(uri: String) { self.uri = uri }
}
