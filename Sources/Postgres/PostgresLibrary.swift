// Tells which libpq is in use.

internal import CPq

/// libpq, as it was loaded.
public enum PostgresLibrary {
    /// Its version, such as `15.14`.
    public static var version: String { "\(versionNumber / 10_000).\(versionNumber % 10_000)" }

    /// The same as one number, such as 150014.
    public static var versionNumber: Int32 { PQlibVersion() }
}
