// Tells which libpq is in use.

internal import CPq

/// libpq, as it was loaded.
public enum PostgresLibrary {
    /// Its version, such as `15.14`.
    public static var version: String { "\(PQlibVersion() / 10_000).\(PQlibVersion() % 10_000)" }
}
