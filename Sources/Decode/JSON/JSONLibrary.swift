// Tells which simdjson is in use.

internal import CSimdjson

/// simdjson, as it was compiled against.
public enum JSONLibrary {
    /// Its version, such as `3.0.1`.
    public static var version: String { String(cString: sj_version()) }
}
